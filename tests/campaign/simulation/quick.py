"""Making frozen models without their checks: what the simulated venue says is made of checked parts already."""

from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)
_defaults: dict[type, tuple[dict[str, Any], set[str]]] = {}
_set = object.__setattr__


def quick(cls: type[M], **fields: Any) -> M:
    """Return `cls(**fields)` without validation; every field without a default must be named."""
    found = _defaults.get(cls)
    if found is None:
        values = {name: field.get_default(call_default_factory=True) for name, field in cls.model_fields.items()}
        found = _defaults[cls] = (values, set(values))
    made = cls.__new__(cls)
    _set(made, "__dict__", {**found[0], **fields})
    _set(made, "__pydantic_fields_set__", found[1])
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made
