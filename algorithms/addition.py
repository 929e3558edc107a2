"""Addition of two numbers with carries, in a small GPT-2 that writes the sum digit by digit.

The prompt "27+19=" is one token per character, and so is the answer "046": what the digits give is found at one
position and used at others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from commutes.algorithm import Algorithm
from commutes.errors import AlgorithmError
from commutes.network import Network
from commutes.network.transformers import character_tokenizer, train_language, untrained_model

Progress = Callable[[int, int, dict[str, float]], None]

DIGIT, SUM = range(10), range(19)  # of one digit, of two digits added

# Rate, batch and steps were chosen on the network seed 0, by accuracy on held-out inputs.
STEPS = {2: 600, 3: 1_200}
BATCH, RATE, DECAY = 128, 2e-3, 0.1


def algorithm(digits: int = 2) -> Algorithm:
    """ones = (a0 + b0) mod 10, carry = (a0 + b0 > 9), tens = a1 + b1; the output is the sum.

    With three digits there are a second carry, from tens and carry, and hundreds = a2 + b2.
    """
    hypothesis = _numbers(f"addition of {digits} digits with carries", digits)

    @hypothesis.variable(domain=DIGIT)
    def ones(a0, b0):
        return (a0 + b0) % 10

    @hypothesis.variable
    def carry(a0, b0) -> bool:
        return a0 + b0 > 9

    @hypothesis.variable(domain=SUM)
    def tens(a1, b1):
        return a1 + b1

    if digits == 2:
        # The sum may come out as 199: in an interchange a carry meets a ones digit of 9.
        @hypothesis.output(domain=range(200))
        def total(ones, carry, tens):
            return 10 * (tens + carry) + ones

        return hypothesis.check()

    @hypothesis.variable
    def second_carry(tens, carry) -> bool:
        return tens + carry > 9

    @hypothesis.variable(domain=SUM)
    def hundreds(a2, b2):
        return a2 + b2

    @hypothesis.output(domain=range(2000), name="total")
    def long_total(ones, carry, tens, second_carry, hundreds):
        return 100 * (hundreds + second_carry) + 10 * ((tens + carry) % 10) + ones

    return hypothesis.check()


def rival(digits: int = 2) -> Algorithm:
    """The same sum without a carry: lower = a0 + b0 stays one number, upper is what the higher digits add."""
    hypothesis = _numbers(f"addition of {digits} digits without a carry", digits)
    _add_upper(hypothesis, digits)

    @hypothesis.variable(domain=SUM)
    def lower(a0, b0):
        return a0 + b0

    @hypothesis.output(domain=range(2 * 10**digits - 1))
    def total(upper, lower):
        return upper + lower

    return hypothesis.check()


def control(digits: int = 2) -> Algorithm:
    """The first number's last digit as a variable: what the network reads, not what it keeps once it has added."""
    hypothesis = _numbers(f"last digit of the first of two numbers of {digits} digits", digits)
    _add_upper(hypothesis, digits)

    @hypothesis.variable(domain=DIGIT)
    def first(a0):
        return a0

    @hypothesis.output(domain=range(2 * 10**digits - 1))
    def total(upper, first, b0):
        return upper + first + b0

    return hypothesis.check()


def network(algorithm: Algorithm, *, seed: int, layers: int = 3, width: int = 128, heads: int = 4) -> Network:
    """An untrained GPT-2 that reads the digits as characters and answers with one digit more than it reads."""
    from transformers import GPT2Config

    digits = len(algorithm.input_variables) // 2
    tokenizer = character_tokenizer("0123456789+=")
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=16,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        initializer_range=width**-0.5,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return Network(
        untrained_model(config, seed=seed),
        tokenizer,
        template=template(digits),
        answers=answers(digits),
        name=f"addition GPT-2, {digits} digits",
    )


def train(
    network: Network,
    algorithm: Algorithm,
    *,
    seed: int,
    progress: Progress | None = None,
    steps: int | None = None,
) -> Network:
    """The network trained on nine tenths of the inputs, drawn from the distribution "values"."""
    digits = len(algorithm.input_variables) // 2
    return train_language(
        network,
        algorithm,
        steps=steps or STEPS[digits],
        batch=BATCH,
        lr=RATE,
        weight_decay=DECAY,
        seed=seed,
        progress=progress,
    )


def template(digits: int = 2) -> str:
    """The prompt: "{a1}{a0}+{b1}{b0}="."""
    first, second = ("".join(f"{{{name}}}" for name in _digits(word, digits)) for word in "ab")
    return f"{first}+{second}="


def answers(digits: int = 2) -> dict[Hashable, str]:
    """The text of every sum, all equally long: 46 is "046"."""
    return {total: f"{total:0{digits + 1}d}" for total in range(2 * 10**digits)}


def _digits(word: str, digits: int) -> list[str]:
    return [f"{word}{place}" for place in reversed(range(digits))]


def _numbers(name: str, digits: int) -> Algorithm:
    if digits not in STEPS:
        raise AlgorithmError(
            "numbers have two or three digits here", got=repr(digits), expected="digits=2 or digits=3"
        )
    hypothesis = Algorithm(name)
    hypothesis.inputs([*_digits("a", digits), *_digits("b", digits)], domain=DIGIT)
    return hypothesis


def _add_upper(hypothesis: Algorithm, digits: int) -> None:
    if digits == 2:
        hypothesis.add("upper", "a1", "b1", f=lambda a, b: 10 * (a + b), domain=range(0, 190, 10))
    else:
        hypothesis.add(
            "upper",
            *("a2", "a1", "b2", "b1"),
            f=lambda a2, a1, b2, b1: 100 * (a2 + b2) + 10 * (a1 + b1),
            domain=range(0, 1990, 10),
        )
