"""Breaks each constraint of the service model, one request each, and expects the modelled error.

The model is the one of the installed botocore, read when this runs. For every operation that is served: a request with all
members at their longest must get past the constraints, and a request with one member that breaks one constraint must be
refused with `InvalidRequestException`, by a text that names the member.

usage: botocore_constraints.py SERVICE OPERATION...
"""

import concurrent.futures
import re
import sys

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

N_CHARS_HUGE = 2**20
DEPTH_MAX = 8
# What texts may look like: the first that fits a pattern is taken as an example of it, the first that does not as a breach.
# Members whose texts mean more than the model says.
MEANT = {"correlationData": "YQ=="}
EXAMPLES = ["a", "1", "aa", "10.0.0.0/8", "a" * 64, "2026", "p50", "a/b", "ENABLE", "MON", "LAST", "/a"]
BREACHES = ["\x01", "a\x01b", "~ ~", "a b", "é", "ü*", "", "nonsense"]


class Constraint:
    """One way to break the rules: where, what is sent there, and which rule it breaks."""

    def __init__(self, path, value, rule):
        self.path, self.value, self.rule = path, value, rule

    def member(self):
        """The name that the error has to say."""
        return next(step for step in reversed(self.path) if isinstance(step, str))


def pattern_of(shape):
    expression = shape.get("pattern")
    if expression is None:
        return None
    for posix, python in ((r"\p{Graph}", r"\x21-\x7e"), (r"[^\p{Cntrl}]", r"[^\x00-\x1f\x7f]"), (r"\p{L}", "a-zA-Z"),
                          (r"\p{Z}", " "), (r"\p{N}", "0-9")):
        expression = expression.replace(posix, python)
    return re.compile(expression)


class Model:
    def __init__(self, service):
        session = botocore.session.get_session()
        self.raw = session.get_component("data_loader").load_service_model(service, "service-2")
        # In a form everything is a text.
        self.has_types = self.raw["metadata"]["protocol"] != "query"

    def shape(self, name):
        return self.raw["shapes"][name]

    def example(self, name, length=None, depth=0):
        """A value that fits: the shortest, or `length` of the longest where there is one."""
        shape = self.shape(name)
        kind = shape["type"]
        if kind == "structure":
            members = shape["members"] if length and depth < DEPTH_MAX else shape.get("required", [])
            if shape.get("union"):
                members = list(shape["members"])[:1]
            inner = ((member, shape["members"][member]["shape"]) for member in members)
            return {member: MEANT.get(member) or self.example(of, length, depth + 1) for member, of in inner}
        if kind == "list":
            n = shape.get("min", 0)
            if length:
                n = min(max(n, 1), shape.get("max", 1))
            return [self.example(shape["member"]["shape"], length, depth + 1)] * n
        if kind == "map":
            if not length or depth >= DEPTH_MAX:
                return {}
            return {self.example(shape["key"]["shape"]): self.example(shape["value"]["shape"], length, depth + 1)}
        if kind == "string":
            return self.text(shape, length)
        if kind in ("integer", "long", "double", "float"):
            return shape.get("max", 1) if length else max(shape.get("min", 0), 1)
        if kind == "timestamp":
            return 1767323045
        if kind == "blob":
            return b"x"
        assert kind == "boolean", (name, kind)
        return True

    def text(self, shape, length=None):
        if "enum" in shape:
            return shape["enum"][0]
        pattern, least, most = pattern_of(shape), shape.get("min", 0), shape.get("max", N_CHARS_HUGE)
        wanted = max(least, 1)
        if length and most <= 4096:
            wanted = most
        for example in EXAMPLES:
            for text in (example * -(-wanted // len(example)), example):
                text = text[: max(wanted, len(example))]
                if least <= len(text) <= most and (pattern is None or pattern.fullmatch(text)):
                    return text
        raise AssertionError(f"no example fits {shape}")

    def breaches(self, name, location, path=(), depth=0):
        """All constraints of a shape and of what it holds, each with a value that breaks it alone."""
        shape = self.shape(name)
        kind = shape["type"]
        in_body = location == "body" and self.has_types
        if kind == "string":
            yield from self.text_breaches(shape, location, path)
            if in_body:
                yield Constraint(path, 5, "type")
        elif kind in ("integer", "long", "double", "float"):
            if "min" in shape:
                yield Constraint(path, shape["min"] - 1, "min")
            if "max" in shape:
                yield Constraint(path, shape["max"] + 1, "max")
            # botocore itself refuses to write a text as a float.
            if in_body and kind in ("integer", "long"):
                yield Constraint(path, "five", "type")
                yield Constraint(path, 1.5, "type")
        elif kind == "list":
            of = shape["member"]["shape"]
            if shape.get("min", 0) > 0:
                yield Constraint(path, [self.example(of)] * (shape["min"] - 1), "min")
            if "max" in shape:
                yield Constraint(path, [self.example(of)] * (shape["max"] + 1), "max")
            for inner in self.breaches(of, location, (*path, 0), depth + 1):
                yield inner
        elif kind == "map":
            for inner in self.text_breaches(self.shape(shape["key"]["shape"]), location, path):
                yield Constraint(path, {inner.value: self.example(shape["value"]["shape"])}, f"key {inner.rule}")
            key = self.example(shape["key"]["shape"])
            for inner in self.breaches(shape["value"]["shape"], location, (*path, (key,)), depth + 1):
                yield inner
        elif kind == "structure" and depth < DEPTH_MAX:
            for member in shape.get("required", []):
                if depth and not shape["members"][member].get("idempotencyToken"):
                    yield Constraint((*path, member), None, "required")
            for member, reference in shape["members"].items():
                yield from self.breaches(reference["shape"], location, (*path, member), depth + 1)

    def text_breaches(self, shape, location, path):
        if "enum" in shape:
            yield Constraint(path, "no-such-value", "enum")
            return
        # An empty segment of a path is another path.
        if shape.get("min", 0) > 0 and (location != "path" or shape["min"] > 1):
            yield Constraint(path, self.text({**shape, "min": 0, "pattern": ".*"})[: shape["min"] - 1], "min")
        pattern = pattern_of(shape)
        if "max" in shape:
            for example in EXAMPLES:
                text = (example * (shape["max"] + 1))[: shape["max"] + 1]
                if pattern is None or pattern.fullmatch(text):
                    yield Constraint(path, text, "max")
                    break
        for text in BREACHES if pattern else ():
            text = text * max(shape.get("min", 1), 1) if text else text
            fits_len = shape.get("min", 0) <= len(text) <= shape.get("max", N_CHARS_HUGE)
            if fits_len and not pattern.fullmatch(text) and (text or location == "body"):
                # Headers hold nothing but printable ASCII.
                if location != "header" or text.isprintable() and text.isascii():
                    yield Constraint(path, text, "pattern")
                    break


def put(model, name, value, path, broken):
    """The example value with what is broken in its place; what is missing on the way there is made."""
    if not path:
        return broken
    shape, step = model.shape(name), path[0]
    if isinstance(step, int):
        inner = shape["member"]["shape"]
        return [put(model, inner, model.example(inner), path[1:], broken)]
    if isinstance(step, tuple):
        inner = shape["value"]["shape"]
        return {step[0]: put(model, inner, model.example(inner), path[1:], broken)}
    inner = shape["members"][step]["shape"]
    value = dict(value)
    if len(path) == 1 and broken is None:
        value.pop(step, None)
        return value
    value[step] = put(model, inner, value.get(step, model.example(inner)), path[1:], broken)
    return value


def client_of(service):
    config = Config(parameter_validation=False, retries={"total_max_attempts": 1}, max_pool_connections=4)
    return botocore.session.get_session().create_client(service, config=config)


def send(client, operation, members):
    """The error's code and text; None when there is none."""
    method = botocore.xform_name(operation)
    try:
        getattr(client, method)(**members)
    except ClientError as err:
        return err.response["Error"]["Code"], err.response["Error"]["Message"]
    return None


def requests_of(model, operation):
    """What to send for an operation: the members, and the constraint that they break, if they do."""
    declared = model.raw["operations"][operation]
    if "input" not in declared:
        yield {}, None
        return
    name = declared["input"]["shape"]
    shape = model.shape(name)
    if model.has_types:
        yield model.example(name), None
        yield model.example(name, length=True), None
    places = {"uri": "path", "querystring": "query", "header": "header"}
    for member, reference in shape["members"].items():
        location = places.get(reference.get("location"), "body")
        if shape.get("payload") == member and model.shape(reference["shape"])["type"] == "blob":
            continue
        is_required = member in shape.get("required", [])
        # What is the whole body is missing when the body is empty, and then what it has to hold is named.
        is_payload = shape.get("payload") == member
        if is_required and location != "path" and not is_payload and not reference.get("idempotencyToken"):
            yield put(model, name, model.example(name), (member,), None), Constraint((member,), None, "required")
        for constraint in model.breaches(reference["shape"], location, (member,), 1):
            yield put(model, name, model.example(name), constraint.path, constraint.value), constraint


def judge(model, operation, constraint, answer):
    """What is wrong with an answer, or None."""
    if constraint is None:
        # What a text means is checked behind the model's constraints: whether an ARN is one, whether an id can be one.
        if answer and ("satisfy constraint: Member" in answer[1] or answer[0].startswith("Unknown")):
            return f"{operation}: a request that fits is refused: {answer}"
        return None
    said = ".".join(str(step) for step in constraint.path)
    what = f"{operation}: {said} = {str(constraint.value)[:60]!r} breaks {constraint.rule}"
    if answer is None and operation == "ValidateSecurityProfileBehaviors" and "criteria" in constraint.path:
        # As on AWS what is wrong with criteria is told by the operation's answer.
        return None
    if answer is None:
        return f"{what}, but is accepted"
    if answer[0] not in ("InvalidRequestException", "InvalidRequest", "InvalidParameter"):
        return f"{what}, but the answer is {answer[0]}: {answer[1][:100]}"
    # A structure in a form without any member is none.
    named = constraint.member() if model.has_types else constraint.path[0]
    if named not in answer[1]:
        return f"{what}, but the text does not name it: {answer[1][:200]}"
    return None


def main():
    service, operations = sys.argv[1], sys.argv[2:]
    model, client = Model(service), client_of(service)
    operations = operations or sorted(model.raw["operations"])
    work = [(operation, *request) for operation in operations for request in requests_of(model, operation)]

    def one(item):
        operation, members, constraint = item
        return judge(model, operation, constraint, send(client, operation, members))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        wrong = [text for text in pool.map(one, work) if text]
    print(f"{len(operations)} operations, {len(work)} requests, {len(wrong)} wrong")
    if wrong:
        sys.exit("\n".join(wrong))


main()
