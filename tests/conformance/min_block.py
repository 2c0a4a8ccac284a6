"""What script/conform asks for is something that the chain of that moment can answer.

`Sesame-Min-Block` with a block that has not come is a 503 by design, and described as one; schemathesis takes every 5xx for a
failure, rightly. So a number that a request demands is made one that was reached long ago; whatever is no number stays as it is.
"""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    for name, value in (case.headers or {}).items():
        text = str(value)
        if name.lower() == "sesame-min-block" and text.isascii() and text.isdecimal():
            case.headers[name] = text[-1:].translate(str.maketrans("23456789", "01010101"))
