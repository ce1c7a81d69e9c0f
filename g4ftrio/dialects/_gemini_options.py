"""Parameters in the OpenAI shape as the configuration, the tools and the instructions of a Gemini request.

Sources: https://ai.google.dev/api/generate-content#v1beta.GenerationConfig,
https://ai.google.dev/api/caching#FunctionDeclaration, and for efforts the table that the service itself goes by:
https://ai.google.dev/gemini-api/docs/openai#thinking
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from g4ftrio._words.errors import SetupError
from g4ftrio._words.structured import json_schema
from g4ftrio.dialects._base import stops
from g4ftrio.dialects._parts import system_text
from g4ftrio.dialects._tools import choice_of, functions_of

__all__ = ("BUDGETED", "STAND_IN", "generation_config", "instruction_of", "laid_over", "tool_config", "tools_of")

BUDGETED = ("gemini-1.", "gemini-2.", "gemini-robotics-er-1.", "gemma-")
STAND_IN = "skip_thought_signature_validator"

_FIELDS = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "max_tokens": "maxOutputTokens",
    "seed": "seed",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
_LEVELS = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "XHIGH"}
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576}  # tokens
_SOUNDS = ("pcm16", "pcm")


def generation_config(params: Mapping[str, Any], *, budgeted: bool) -> dict[str, Any]:
    """Give what the model is told beside the contents.

    :param budgeted: whether the model's thinking is bounded by tokens, not by a level
    :raises SetupError: the wire has no form for a parameter's value
    """
    config = {field: params[name] for name, field in _FIELDS.items() if name in params}
    if "stop" in params:
        config["stopSequences"] = stops(params["stop"])
    if "modalities" in params:
        config["responseModalities"] = [str(modality).upper() for modality in params["modalities"]]
    if "audio" in params:
        config |= _speech(params["audio"])
    if "reasoning_effort" in params:
        config["thinkingConfig"] = _thinking(params["reasoning_effort"], budgeted=budgeted)
    if "response_format" in params:
        config |= _response_format(params["response_format"])
    return config


def tools_of(tools: Sequence[Any]) -> list[dict[str, Any]]:
    """Declare the functions that the model may call.

    :raises SetupError: a tool is no function
    """
    declared = []
    for function in functions_of(tools):
        declaration: dict[str, Any] = {"name": function.name, "description": function.description}
        if function.parameters:
            declaration["parametersJsonSchema"] = function.parameters  # the field parameters takes OpenAPI's dialect
        declared.append({key: value for key, value in declaration.items() if value})
    return [{"functionDeclarations": declared}] if declared else []


def tool_config(params: Mapping[str, Any]) -> dict[str, Any]:
    """Say whether a tool may or must be called.

    :raises SetupError: it is no such choice, or one call at a time is asked for
    """
    if params.get("parallel_tool_calls") is False:
        raise SetupError("this service takes no parallel_tool_calls=False: leave it out")
    if "tool_choice" not in params or not params.get("tools"):
        return {}
    choice = choice_of(params["tool_choice"])
    config: dict[str, Any] = {"mode": _MODES[choice.mode]}
    if choice.name:
        config["allowedFunctionNames"] = [choice.name]
    return {"functionCallingConfig": config}


def instruction_of(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give what the system's messages say; nothing if there are none."""
    said = system_text(messages)
    return {"parts": [{"text": said}]} if said else {}


def laid_over(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Lay fields over a body, and over the objects in it; None takes a field out, and what is empty is left out."""
    merged = dict(body)
    for name, value in extra.items():
        below = merged.get(name)
        merged[name] = laid_over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return {name: value for name, value in merged.items() if value is not None}


def _speech(audio: Mapping[str, str]) -> dict[str, Any]:
    if audio.get("format", "pcm16") not in _SOUNDS:
        raise SetupError(f"this service speaks in pcm16, not in {audio['format']!r}: leave the audio's format out")
    if "voice" not in audio:
        return {}
    return {"speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": audio["voice"]}}}}


def _thinking(effort: Any, *, budgeted: bool) -> dict[str, Any]:
    if effort not in _LEVELS:
        raise SetupError(f"reasoning_effort must be one of {', '.join(_LEVELS)}, not {effort!r}")
    amount = {"thinkingBudget": _BUDGETS[effort]} if budgeted else {"thinkingLevel": _LEVELS[effort]}
    return {**amount, "includeThoughts": effort != "none"}


def _response_format(wanted: Any) -> dict[str, Any]:
    if isinstance(wanted, Mapping) and wanted.get("type") == "text":
        return {}
    asked = json_schema(wanted)
    schema = {} if asked is None else {"responseJsonSchema": asked.schema}
    return {"responseMimeType": "application/json", **schema}
