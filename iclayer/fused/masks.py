"""What noise is a function of: the layer's seed, the number of its call, and an activation's place.

An activation's word is `hash(hash(place + keys[0]) ^ keys[1])`, all of 32 bits. Its place counts the activations of the
inputs in C order; `hash` is the finalizer of MurmurHash3 (Appleby 2011), by `MIX`; the keys are random numbers of
Philox4x32-10 (Salmon et al. 2011): `philox`. Dropout drops one whose word is below `limit(rate)`; Uout multiplies one
by 1 + rate * UNIT * word, the word taken as a signed number. All backends have the same words for seeds and numbers of
calls below 2**31; TensorFlow has 64 bits for each, and PyTorch these words where it is compiled.
"""

# (shift, factor): z = (z ^ (z >> shift)) * factor for each in turn, then z ^ (z >> LAST).
MIX, LAST = ((16, 0x85EBCA6B), (13, 0xC2B2AE35)), 16
WORD = 2**32 - 1
UNIT = 2.0**-31


def limit(rate):
    """Below which a hash drops its activation: `rate` of 2**32, kept to 2**-32."""
    return min(round(rate * 2**32), WORD)


def philox(seed, call, word, product):
    """The keys of a call: the first two words of Philox4x32-10 with key (seed, 0) and counter (0, 0, call, 0).

    Args:
        seed, call: words of 32 bits, of any type that has `+`, `^` and `&`.
        word: makes one of an int.
        product: gives the high and the low word of the product of two.

    Returns:
        tuple: two words.
    """
    a, b, c, d = word(0), word(0), call, word(0)
    for number in range(10):
        (high_a, low_a), (high_c, low_c) = product(a, word(0xD2511F53)), product(c, word(0xCD9E8D57))
        first, second = (word(number * weyl & WORD) for weyl in (0x9E3779B9, 0xBB67AE85))
        a, b, c, d = high_c ^ b ^ (seed + first & word(WORD)), low_c, high_a ^ d ^ second, low_a
    return a, b
