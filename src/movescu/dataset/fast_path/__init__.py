"""The walk that finds whether a received data set has to change at all. A reader may skip it."""
