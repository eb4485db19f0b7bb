# No recurrence: the head averages over frames.
neck_part = dict(neck=None)
