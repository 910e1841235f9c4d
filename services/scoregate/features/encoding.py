"""Feast's documented online format for Redis: keys, field names, values; and the few registry messages that we read.

Source: `docs/specs/online_store_format.md` of Feast and its `.proto` files; entity key serialisation version 3.
The messages are declared here by field number, in a descriptor pool of their own: importing Feast's generated ones
costs seconds and hundreds of megabytes, which a serving process does not have.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import mmh3
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

ENTITY_KEY_VERSION: Final = 3

STRING: Final = 2
"""Feast's number of the string type."""

_F = descriptor_pb2.FieldDescriptorProto

DTYPES: Final = {
    1: "bytes",
    2: "string",
    3: "int32",
    4: "int64",
    5: "double",
    6: "float",
    7: "bool",
    8: "unix_timestamp",
    11: "bytes_list",
    12: "string_list",
    13: "int32_list",
    14: "int64_list",
    15: "double_list",
    16: "float_list",
    17: "bool_list",
    18: "unix_timestamp_list",
}
"""Feast's value types by number."""

_SCALARS: Final = {
    "bytes": _F.TYPE_BYTES,
    "string": _F.TYPE_STRING,
    "int32": _F.TYPE_INT32,
    "int64": _F.TYPE_INT64,
    "double": _F.TYPE_DOUBLE,
    "float": _F.TYPE_FLOAT,
    "bool": _F.TYPE_BOOL,
    "unix_timestamp": _F.TYPE_INT64,
}

# message → (field, number, type, repeated); a type in capitals is another message of this table.
_MESSAGES: Final[dict[str, list[tuple[str, int, Any, bool]]]] = {
    "Feature": [("name", 1, "string", False), ("value_type", 2, "int32", False)],
    "Entry": [("key", 1, "string", False), ("value", 2, "string", False)],
    "Duration": [("seconds", 1, "int64", False), ("nanos", 2, "int32", False)],
    "Projection": [
        ("feature_view_name", 1, "string", False),
        ("feature_columns", 2, "Feature", True),
        ("feature_view_name_alias", 3, "string", False),
        ("join_key_map", 4, "Entry", True),
        # Optional in Feast; declared as repeated, it is told apart whether it is absent or version 0.
        ("version_tag", 10, "int32", True),
    ],
    "ServiceSpec": [("name", 1, "string", False), ("project", 2, "string", False), ("features", 3, "Projection", True)],
    "Service": [("spec", 1, "ServiceSpec", False)],
    "ViewSpec": [
        ("name", 1, "string", False),
        ("project", 2, "string", False),
        ("features", 4, "Feature", True),
        ("tags", 5, "Entry", True),
        ("ttl", 6, "Duration", False),
        ("entity_columns", 12, "Feature", True),
        ("disabled", 20, "bool", False),
    ],
    "View": [("spec", 1, "ViewSpec", False)],
    "Registry": [("feature_views", 6, "View", True), ("feature_services", 7, "Service", True)],
}


def _declare() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="scoregate_feast.proto", package="scoregate.feast", syntax="proto3")
    value = file.message_type.add(name="Value")
    value.oneof_decl.add(name="val")
    for number, dtype in DTYPES.items():
        item = dtype.removesuffix("_list")
        if dtype == item:
            value.field.add(name=dtype, number=number, type=_SCALARS[item], label=_F.LABEL_OPTIONAL, oneof_index=0)
            continue
        name = f"List_{item}"
        of = file.message_type.add(name=name)
        of.field.add(name="val", number=1, type=_SCALARS[item], label=_F.LABEL_REPEATED)
        value.field.add(
            name=dtype,
            number=number,
            type=_F.TYPE_MESSAGE,
            type_name=f".scoregate.feast.{name}",
            label=_F.LABEL_OPTIONAL,
            oneof_index=0,
        )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = _F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL
            if kind in _SCALARS:
                message.field.add(name=field, number=number, type=_SCALARS[kind], label=label)
            else:
                message.field.add(
                    name=field,
                    number=number,
                    type=_F.TYPE_MESSAGE,
                    type_name=f".scoregate.feast.{kind}",
                    label=label,
                )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ["Value", "Registry", "Service", "View"]
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"scoregate.feast.{name}")) for name in names
    }


_TIMES: Final = {"unix_timestamp", "unix_timestamp_list"}
_NO_TIME: Final = -(2**63)
"""How Feast writes a null time: whole seconds have no room for one."""

_SMALL: Final = 1 << 14
_MASK_64: Final = (1 << 64) - 1
_VARINTS: Final = [bytes([n]) if n < 128 else bytes([n & 0x7F | 0x80, n >> 7]) for n in range(_SMALL)]
_BEGINNINGS: Final = [bytes([n & 0x7F | 0x80, n >> 7 | 0x80]) for n in range(_SMALL)]
_INT64_LIST: Final = b"\x72"
_NO_INT64S: Final = b"\x72\x00"
_WRAPPED: Final = re.compile(rb"\x72[\x80-\xff]*[\x00-\x7f]\x0a[\x80-\xff]*[\x00-\x7f]", re.DOTALL)

_CLASSES = _declare()
Value = _CLASSES["Value"]
Registry = _CLASSES["Registry"]
Service = _CLASSES["Service"]
View = _CLASSES["View"]

__all__ = ["ENTITY_KEY_VERSION", "STRING", "Registry", "Service", "Value", "View"]


def field_key(view: str, feature: str) -> bytes:
    """Return the hash field of a feature: murmur3 of `view:feature`, four bytes, little-endian."""
    return struct.pack("<I", mmh3.hash(f"{view}:{feature}", signed=False))


def timestamp_key(view: str) -> bytes:
    """Return the hash field that holds the time of a view's row."""
    return b"_ts:" + view.encode()


def version_key(view: str) -> bytes:
    """Return the hash field, our own beside Feast's, that says which stream entry a row has counted last."""
    return b"_id:" + view.encode()


def key_prefix(join_keys: tuple[str, ...]) -> bytes:
    """Return the part of a row's key that only depends on the sorted join keys."""
    parts = [struct.pack("<I", len(join_keys))]
    for name in join_keys:
        encoded = name.encode()
        parts.append(struct.pack("<II", STRING, len(encoded)) + encoded)
    return b"".join(parts)


def row_key(prefix: bytes, values: Sequence[str], project: bytes) -> bytes:
    """Return the Redis key of a row, from `key_prefix` and string values in the order of the sorted join keys."""
    parts = [prefix]
    for value in values:
        encoded = value.encode()
        parts.append(struct.pack("<II", STRING, len(encoded)) + encoded)
    parts.append(project)
    return b"".join(parts)


def decode_value(raw: bytes, dtype: str) -> Any:
    """Decode one value; None for null, and for a value of another type than `dtype`, which is as good as absent."""
    return decoder(dtype)(raw)


@lru_cache
def decoder(dtype: str) -> Callable[[bytes], Any]:
    """Return what `decode_value` does for one type: worked out once, where many values of it are read."""
    value_of, parse = _reader(dtype), Value.FromString

    def decode_plain(raw: bytes) -> Any:
        value = parse(raw)
        return getattr(value, dtype) if value.HasField(dtype) else None

    if value_of is None:
        return decode_plain

    def decode(raw: bytes) -> Any:
        value = parse(raw)
        return value_of(getattr(value, dtype)) if value.HasField(dtype) else None

    return decode


def _reader(dtype: str) -> Callable[[Any], Any] | None:
    """Return what is to be made of a field of this type; None where it is the value itself."""
    if dtype in _TIMES:
        return (lambda found: [_time(seconds) for seconds in found.val]) if dtype.endswith("_list") else _time
    # A slice is a list at once; `list` would ask for one number after the other.
    return (lambda found: found.val[:]) if dtype.endswith("_list") else None


def _time(seconds: int) -> datetime | None:
    return None if seconds == _NO_TIME else datetime.fromtimestamp(seconds, UTC)


def _seconds(at: datetime | None) -> int:
    return _NO_TIME if at is None else int(at.timestamp())


def encode_value(value: Any, dtype: str) -> bytes:
    """Encode one value; None becomes an empty Value, as Feast writes null."""
    if value is None:
        return b""
    if dtype in _TIMES:
        value = [_seconds(at) for at in value] if dtype.endswith("_list") else _seconds(value)
    message = Value()
    if dtype.endswith("_list"):
        getattr(message, dtype).val.extend(value)
        getattr(message, dtype).SetInParent()
    else:
        setattr(message, dtype, value)
    encoded: bytes = message.SerializeToString()
    return encoded


def varint(value: int) -> bytes:
    """Encode an integer as protobuf does in an int64 field; a negative one takes ten bytes."""
    if 0 <= value < _SMALL:
        return _VARINTS[value]
    value &= _MASK_64
    rest = value >> 14
    if rest < _SMALL:
        return _BEGINNINGS[value & 0x3FFF] + _VARINTS[rest]
    return _BEGINNINGS[value & 0x3FFF] + varint(rest)


def int64_list(packed: bytes) -> bytes:
    """Wrap varints, one after the other, as the value of a feature of type Array(Int64): what `encode_value` writes."""
    if not packed:
        return _NO_INT64S
    inner = b"\x0a" + varint(len(packed)) + packed
    return _INT64_LIST + varint(len(inner)) + inner


def packed_int64s(value: bytes) -> bytes:
    """Return the varints inside what `int64_list` wrote; empty for null.

    Raises:
        ValueError: it is something else.
    """
    if not value or value == _NO_INT64S:
        return b""
    found = _WRAPPED.match(value)
    if found is None:
        raise ValueError("this is not a list of integers")
    return value[found.end() :]


def decode_timestamp_s(raw: bytes) -> float:
    """Decode a row's time to seconds since the epoch."""
    stamp = timestamp_pb2.Timestamp.FromString(raw)
    return float(stamp.seconds + stamp.nanos / 1e9)


def encode_timestamp(at_us: int) -> bytes:
    """Encode a row's time from microseconds since the epoch: a protobuf Timestamp."""
    seconds, micros = divmod(at_us, 1_000_000)
    encoded = _encoded_seconds(seconds)
    return encoded + b"\x10" + varint(micros * 1_000) if micros else encoded


@lru_cache(maxsize=10_000)
def _encoded_seconds(seconds: int) -> bytes:
    # The same seconds come all the time.
    return b"\x08" + varint(seconds) if seconds else b""
