"""What was done about the size, the start and the memory of what is deployed, as RESULTS.md says it beside the figures.

Whoever changes one of these changes its sentence: the Dockerfile, `scoregate/serving/bento.py`, the Makefile.
"""

from __future__ import annotations

from typing import Final

from scoregate import catalog

START: Final = (
    "BentoML imports a service twice, and the model's libraries come with the worker alone; "
    "no Feast, pandas or XGBoost: the feature plan is compiled into the artefact; "
    "bytecode is made when libraries are installed"
)

_SERVING: Final = (
    "BentoML's own process holds neither the door nor the model, the worker no Feast, pandas or XGBoost; "
    "requests pass BentoML by, whose timer would keep each one's context"
)

MEMORY: Final = dict.fromkeys(catalog.services(), _SERVING) | {
    "tutorial": "as tutorials write it, Feast and XGBoost in both processes",
    "empty": "nothing; it stands in the tutorial's module, so it imports the same",
}

_IMAGE: Final = (
    "a lock of its own: no Feast, pandas, pyarrow or XGBoost, the forest by treelite; "
    "58 MB of libraries' tests, headers and stubs removed"
)

IMAGES: Final = dict.fromkeys(catalog.services(), _IMAGE) | {
    "worker": "a lock of its own: no BentoML, treelite or Feast; 40 MB of pyarrow's headers and Flight removed",
    "features": "100 MB that Feast brings and applying never imports removed: a type checker, what serves and colours",
    "train": "xgboost-cpu, since the plain wheel carries 470 MB of NCCL; libraries' tests and headers removed",
}

EVERY_IMAGE: Final = (
    "Every image is put together in stages, on a base without pip, setuptools, documentation and locales: "
    "nothing that was removed stays in a layer below."
)

BUILDS: Final = dict.fromkeys(IMAGES, "`make containers` builds it") | {
    "train": "`docker build --target train -t scoregate/train .` builds it"
}
"""What makes an image that was not there to be measured."""
