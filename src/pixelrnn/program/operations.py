"""The numbers by which instructions name their operations."""

COPY, RELU, TANH, SIGMOID, EXP, NEG, ABS, FLOOR, ELU, RSQRT, LOG, EXPM1, LOG_NDTR, CAST, UNCAST = range(15)
ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM, GATE, WHERE, LOOKUP = range(15, 24)
LAST_POINTWISE = LOOKUP
LINEAR, SUM, MAX, GATHER, CELL, INTEGER_CELL, GATHER_EARLIER, ATTEND, TO_PLANES = range(24, 33)

FIELDS = 17  # of an instruction
OVER = 1 << 40  # calls of a meeting: it is called off
PANELS = 4  # vectors of outputs that are computed together at most

OPERATION = {
    "copy": COPY,
    "relu": RELU,
    "tanh": TANH,
    "sigmoid": SIGMOID,
    "exp": EXP,
    "neg": NEG,
    "abs": ABS,
    "floor": FLOOR,
    "elu": ELU,
    "log": LOG,
    "rsqrt": RSQRT,
    "expm1": EXPM1,
    "log_ndtr": LOG_NDTR,
    "add": ADD,
    "sub": SUB,
    "mul": MUL,
    "div": DIV,
    "maximum": MAXIMUM,
    "minimum": MINIMUM,
    "gate": GATE,
    "where": WHERE,
    "lookup": LOOKUP,
    "sum": SUM,
    "max": MAX,
}
"""The operations of `Pointwise` and `Reduce` steps by name."""
