from methods.piggyback.piggyback import Piggyback

__all__ = ["Piggyback"]
