from embeddings.encoder import Encoder
from embeddings.errors import UnusableImage

__all__ = ["Encoder", "UnusableImage"]
