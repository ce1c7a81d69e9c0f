"""The services that are known by name. To add one, add its declaration: nothing else has to be registered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit

from g4ftrio._words.origin import PORTS
from g4ftrio.dialects.anthropic import Anthropic as AnthropicWire
from g4ftrio.dialects.gemini import Gemini as GeminiWire
from g4ftrio.dialects.gemini_live import GeminiLive as GeminiLiveWire
from g4ftrio.dialects.ollama import Ollama as OllamaWire
from g4ftrio.dialects.openai_chat import OpenAIChat
from g4ftrio.dialects.openai_realtime import OpenAIRealtime as RealtimeWire
from g4ftrio.dialects.openai_responses import OpenAIResponses as ResponsesWire
from g4ftrio.dialects.openai_responses_socket import OpenAIResponsesSocket
from g4ftrio.dialects.openchat import OpenChat
from g4ftrio.providers._declared import HttpProvider
from g4ftrio.providers._socket import SocketProvider

__all__ = (
    "VLLM",
    "XAI",
    "Anthropic",
    "AzureOpenAI",
    "Cerebras",
    "DeepSeek",
    "Fireworks",
    "Gemini",
    "GeminiLive",
    "GitHubModels",
    "Groq",
    "HuggingFace",
    "LMStudio",
    "LiteLLM",
    "LlamaCpp",
    "Mistral",
    "Nvidia",
    "Ollama",
    "OllamaChat",
    "OpenAI",
    "OpenAICompatible",
    "OpenAIRealtime",
    "OpenAIResponses",
    "OpenAIResponsesWebSocket",
    "OpenChatCompatible",
    "OpenRouter",
    "Perplexity",
    "Together",
    "VercelGateway",
)


class OpenAICompatible(HttpProvider):
    """Any service that speaks the OpenAI chat wire: ``OpenAICompatible(api_base="http://127.0.0.1:8000/v1")``."""

    label = "openai-compatible"
    needs_auth = False


class OpenChatCompatible(HttpProvider):
    """Any service that answers with a raw stream of text, as OpenChat's page does; see ``dialects.openchat``."""

    label = "openchat"
    needs_auth = False
    dialect = OpenChat()


class OpenAI(HttpProvider):
    """OpenAI's chat completions."""

    label = "openai"
    url = "https://platform.openai.com"
    api_base = "https://api.openai.com/v1"
    key_variables = ("OPENAI_API_KEY",)
    base_variables = ("OPENAI_BASE_URL",)
    dialect = OpenAIChat(max_tokens_field="max_completion_tokens")


class Anthropic(HttpProvider):
    """Anthropic's Messages."""

    label = "anthropic"
    url = "https://platform.claude.com"
    api_base = "https://api.anthropic.com"
    key_variables = ("ANTHROPIC_API_KEY",)
    base_variables = ("ANTHROPIC_BASE_URL",)
    key_header = "x-api-key"
    key_prefix = ""
    headers: ClassVar[Mapping[str, str]] = {"anthropic-version": "2023-06-01"}
    dialect = AnthropicWire(models_path="/v1/models?limit=1000")  # of which a page holds 20 unasked


class OpenAIResponses(HttpProvider):
    """OpenAI's Responses: reasoning that can be sent back, and conversations that the service keeps.

    Other services speak it, too; with a key of theirs as ``api_key=`` they are asked by their ``api_base=``:

    * xAI, ``https://api.x.ai/v1``
    * Azure, ``https://RESOURCE.openai.azure.com/openai/v1``, which takes its keys as bearers as well
    * Vercel's gateway, ``https://ai-gateway.vercel.sh/v1``
    * OpenRouter, ``https://openrouter.ai/api/v1``: in beta, and it keeps no conversations
    """

    label = "openai-responses"
    telemetry_name = "openai"
    url = "https://platform.openai.com"
    api_base = "https://api.openai.com/v1"
    key_variables = ("OPENAI_API_KEY",)
    base_variables = ("OPENAI_BASE_URL",)
    dialect = ResponsesWire()


class OpenAIResponsesWebSocket(SocketProvider):
    """OpenAI's Responses over a WebSocket.

    xAI, Azure and Vercel's gateway have that door where they have the one over HTTP: for their ``api_base=`` see
    ``OpenAIResponses``. Sources: https://docs.x.ai/developers/advanced-api-usage/websocket-mode,
    https://learn.microsoft.com/azure/foundry/openai/how-to/websockets,
    https://vercel.com/docs/ai-gateway/sdks-and-apis/responses/websockets.
    """

    label = "openai-responses-ws"
    telemetry_name = "openai"
    url = "https://platform.openai.com"
    api_base = "https://api.openai.com/v1"
    key_variables = ("OPENAI_API_KEY",)
    base_variables = ("OPENAI_BASE_URL",)
    dialect = OpenAIResponsesSocket()


class OpenAIRealtime(SocketProvider):
    """OpenAI's Realtime models, asked in text."""

    label = "openai-realtime"
    telemetry_name = "openai"
    url = "https://platform.openai.com"
    api_base = "https://api.openai.com/v1"
    key_variables = ("OPENAI_API_KEY",)
    base_variables = ("OPENAI_BASE_URL",)
    dialect = RealtimeWire()


class AzureOpenAI(HttpProvider):
    """OpenAI's models at Azure, through the versionless v1 address: the model is the deployment's name."""

    label = "azure-openai"
    telemetry_name = "azure.ai.openai"
    url = "https://ai.azure.com"
    key_variables = ("AZURE_OPENAI_API_KEY",)
    base_variables = ("AZURE_OPENAI_ENDPOINT",)
    key_header = "api-key"
    key_prefix = ""
    dialect = OpenAIChat(max_tokens_field="max_completion_tokens")

    @staticmethod
    def base_from_variable(value: str) -> str:
        """Complete the resource's endpoint with the path of the v1 API."""
        return value if "/openai" in value else value.rstrip("/") + "/openai/v1"


class Cerebras(HttpProvider):
    """Cerebras Inference."""

    label = "cerebras"
    url = "https://cloud.cerebras.ai"
    api_base = "https://api.cerebras.ai/v1"
    key_variables = ("CEREBRAS_API_KEY",)
    dialect = OpenAIChat(max_tokens_field="max_completion_tokens")


class DeepSeek(HttpProvider):
    """DeepSeek's own platform."""

    label = "deepseek"
    url = "https://platform.deepseek.com"
    api_base = "https://api.deepseek.com/v1"
    key_variables = ("DEEPSEEK_API_KEY",)


class Fireworks(HttpProvider):
    """Fireworks AI."""

    label = "fireworks"
    url = "https://fireworks.ai"
    api_base = "https://api.fireworks.ai/inference/v1"
    key_variables = ("FIREWORKS_API_KEY",)


class Gemini(HttpProvider):
    """Google's Gemini models."""

    label = "gemini"
    telemetry_name = "gcp.gemini"
    url = "https://ai.google.dev"
    api_base = "https://generativelanguage.googleapis.com"
    key_variables = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    base_variables = ("GOOGLE_GEMINI_BASE_URL",)
    key_header = "x-goog-api-key"
    key_prefix = ""
    dialect = GeminiWire()


class GeminiLive(SocketProvider):
    """Google's Live models, asked in text."""

    label = "gemini-live"
    telemetry_name = "gcp.gemini"
    url = "https://ai.google.dev"
    api_base = "https://generativelanguage.googleapis.com"
    key_variables = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    base_variables = ("GOOGLE_GEMINI_BASE_URL",)
    key_header = "x-goog-api-key"
    key_prefix = ""
    dialect = GeminiLiveWire()


class GitHubModels(HttpProvider):
    """GitHub Models."""

    label = "github-models"
    url = "https://github.com/marketplace/models"
    api_base = "https://models.github.ai/inference"
    key_variables = ("GITHUB_TOKEN", "GH_TOKEN")
    dialect = OpenAIChat(models_path="/../catalog/models")  # beside the API base, not below it


class Groq(HttpProvider):
    """Groq Cloud."""

    label = "groq"
    url = "https://console.groq.com"
    api_base = "https://api.groq.com/openai/v1"
    key_variables = ("GROQ_API_KEY",)
    base_variables = ("GROQ_BASE_URL",)
    dialect = OpenAIChat(max_tokens_field="max_completion_tokens")


class HuggingFace(HttpProvider):
    """Hugging Face's router of inference providers."""

    label = "huggingface"
    url = "https://huggingface.co/inference"
    api_base = "https://router.huggingface.co/v1"
    key_variables = ("HF_TOKEN",)


class Mistral(HttpProvider):
    """Mistral's platform."""

    label = "mistral"
    telemetry_name = "mistral_ai"
    url = "https://console.mistral.ai"
    api_base = "https://api.mistral.ai/v1"
    key_variables = ("MISTRAL_API_KEY",)
    dialect = OpenAIChat(seed_field="random_seed", stream_usage=False)


class Nvidia(HttpProvider):
    """NVIDIA NIM."""

    label = "nvidia"
    url = "https://build.nvidia.com"
    api_base = "https://integrate.api.nvidia.com/v1"
    key_variables = ("NVIDIA_API_KEY",)


class OpenRouter(HttpProvider):
    """OpenRouter."""

    label = "openrouter"
    url = "https://openrouter.ai"
    api_base = "https://openrouter.ai/api/v1"
    key_variables = ("OPENROUTER_API_KEY",)


class Perplexity(HttpProvider):
    """Perplexity's Sonar models."""

    label = "perplexity"
    url = "https://docs.perplexity.ai"
    api_base = "https://api.perplexity.ai"
    key_variables = ("PERPLEXITY_API_KEY", "PPLX_API_KEY")
    dialect = OpenAIChat(stream_usage=False)


class Together(HttpProvider):
    """Together AI."""

    label = "together"
    url = "https://api.together.ai"
    api_base = "https://api.together.ai/v1"
    key_variables = ("TOGETHER_API_KEY",)


class VercelGateway(HttpProvider):
    """Vercel's AI Gateway."""

    label = "vercel"
    url = "https://vercel.com/ai-gateway"
    api_base = "https://ai-gateway.vercel.sh/v1"
    key_variables = ("AI_GATEWAY_API_KEY",)


class XAI(HttpProvider):
    """xAI's Grok models."""

    label = "xai"
    telemetry_name = "x_ai"
    url = "https://console.x.ai"
    api_base = "https://api.x.ai/v1"
    key_variables = ("XAI_API_KEY",)


# --- on this machine: no key unless the server was started with one ---


class LiteLLM(HttpProvider):
    """A LiteLLM proxy."""

    label = "litellm"
    url = "https://docs.litellm.ai"
    api_base = "http://127.0.0.1:4000/v1"
    key_variables = ("LITELLM_API_KEY",)
    base_variables = ("LITELLM_BASE_URL",)
    needs_auth = False


class LlamaCpp(HttpProvider):
    """llama.cpp's server."""

    label = "llamacpp"
    url = "https://github.com/ggml-org/llama.cpp"
    api_base = "http://127.0.0.1:8080/v1"
    key_variables = ("LLAMA_API_KEY",)
    base_variables = ("LLAMA_BASE_URL",)
    needs_auth = False
    default_model = "default"


class LMStudio(HttpProvider):
    """LM Studio's local server."""

    label = "lmstudio"
    url = "https://lmstudio.ai"
    api_base = "http://127.0.0.1:1234/v1"
    base_variables = ("LM_STUDIO_BASE_URL",)
    needs_auth = False


class Ollama(HttpProvider):
    """Ollama by its own door; at https://ollama.com, with a key, the models that it hosts."""

    label = "ollama"
    url = "https://ollama.com"
    api_base = "http://127.0.0.1:11434"
    key_variables = ("OLLAMA_API_KEY",)
    base_variables = ("OLLAMA_HOST",)
    needs_auth = False
    dialect = OllamaWire()

    @staticmethod
    def base_from_variable(value: str) -> str:
        """Read ``OLLAMA_HOST`` as Ollama does: it may lack the scheme, the port or both."""
        scheme, _, rest = value.strip().rpartition("://")
        address = urlsplit(f"//[{rest}]" if rest.count(":") > 1 and "[" not in rest else f"//{rest}")
        name = address.hostname or ""
        if name in ("", "0.0.0.0", "::"):  # noqa: S104  # where it listens is not where it is reached
            name = "127.0.0.1"
        scheme = scheme or ("https" if name == "ollama.com" else "")
        host = f"[{name}]" if ":" in name else name
        port = address.port or PORTS.get(scheme, 11434)
        return f"{scheme or 'http'}://{host}:{port}{address.path.rstrip('/')}"


class OllamaChat(HttpProvider):
    """Ollama through its OpenAI door."""

    label = "ollama-chat"
    url = "https://ollama.com"
    api_base = "http://127.0.0.1:11434/v1"
    base_variables = ("OLLAMA_HOST",)
    needs_auth = False

    @staticmethod
    def base_from_variable(value: str) -> str:
        """Read ``OLLAMA_HOST`` and go to the door's path."""
        return Ollama.base_from_variable(value) + "/v1"


class VLLM(HttpProvider):
    """A vLLM server."""

    label = "vllm"
    url = "https://docs.vllm.ai"
    api_base = "http://127.0.0.1:8000/v1"
    key_variables = ("VLLM_API_KEY",)
    base_variables = ("VLLM_BASE_URL",)
    needs_auth = False
