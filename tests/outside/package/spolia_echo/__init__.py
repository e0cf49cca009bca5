"""A package of somebody else's, with one method. Spolia is not edited for it."""
