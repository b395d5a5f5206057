"""Amounts of money and other numbers, for people. English notation: 1,234.50."""

from decimal import ROUND_HALF_UP, Context, Decimal

MINUS = "\N{MINUS SIGN}"
# ISO 4217: the currencies whose minor unit is not a hundredth.
_WHOLE = [
    "BIF",
    "CLP",
    "DJF",
    "GNF",
    "ISK",
    "JPY",
    "KMF",
    "KRW",
    "PYG",
    "RWF",
    "UGX",
    "VND",
    "VUV",
    "XAF",
    "XOF",
    "XPF",
]
_THOUSANDTHS = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]
MINOR_UNITS = dict.fromkeys(_WHOLE, 0) | dict.fromkeys(_THOUSANDTHS, 3)
SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "INR": "₹", "KRW": "₩"}
MAX_DECIMALS = 6
EXACT = Context(prec=5000, rounding=ROUND_HALF_UP)  # digits; in the default of 28 the cents of 1e27 are lost


def minor_units(currency: str) -> int:
    """How many decimals an amount of `currency` has."""
    return MINOR_UNITS.get(currency, 2)


def rounded(amount: Decimal, currency: str) -> Decimal:
    """Round half away from zero to the currency's minor unit, as invoices do."""
    return amount.quantize(Decimal(1).scaleb(-minor_units(currency)), context=EXACT)


def money(amount: Decimal | float, currency: str) -> str:
    """Write an amount with its currency: €1,234.50, CHF 1,234.50."""
    value = rounded(decimal(amount), currency)
    sign = MINUS if value < 0 else ""
    symbol = SYMBOLS.get(currency, f"{currency}\N{NO-BREAK SPACE}")
    return f"{sign}{symbol}{value.copy_abs():,f}"


def price(amount: Decimal, currency: str) -> str:
    """Write a unit price: with the currency's decimals, or more where it has more (0.0035)."""
    return number(amount, max(minor_units(currency), decimal_places(amount)))


def quantity(amount: Decimal) -> str:
    """Write a count without needless zeros: 12, 1.5, 1,000."""
    return number(amount, decimal_places(amount))


def number(amount: Decimal | float, decimals: int = 0) -> str:
    """Write a number with grouped thousands and so many decimals."""
    value = decimal(amount).quantize(Decimal(1).scaleb(-decimals), context=EXACT)
    return f"{MINUS if value < 0 else ''}{value.copy_abs():,f}"


def decimal(amount: Decimal | float) -> Decimal:
    """Take a float for what it is written as: 0.1 is 0.1, not 0.1000000000000000055."""
    return amount if isinstance(amount, Decimal) else Decimal(str(amount))


def decimal_places(amount: Decimal) -> int:
    """Count the decimals that `amount` needs, up to six."""
    exponent = amount.normalize().as_tuple().exponent
    return min(max(0, -exponent), MAX_DECIMALS) if isinstance(exponent, int) else 0
