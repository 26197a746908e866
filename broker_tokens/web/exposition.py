"""Figures in Prometheus' text format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure, and the labels that tell it from others of its name."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """Figures of one name; without any it is left out."""

    name: str
    kind: str  # gauge or counter
    help: str
    samples: Iterable[Sample]


def text_of(metrics: Iterable[Metric]) -> str:
    """Return the metrics as a scraper reads them."""
    return "".join(line for metric in metrics for line in _lines_of(metric))


def _lines_of(metric: Metric) -> list[str]:
    samples = [
        f"{metric.name}{_labels(sample.labels)} {sample.value!r}\n" for sample in metric.samples
    ]
    head = [f"# HELP {metric.name} {metric.help}\n", f"# TYPE {metric.name} {metric.kind}\n"]
    return head + samples if samples else []


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
