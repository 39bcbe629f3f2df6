"""Several stored versions in one service: an alias that is followed, a part of the requests for a candidate, and a
candidate that answers beside the other and is only compared."""
