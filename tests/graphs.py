"""Graphs of networks, for tests of their order."""

import json
import re

KINDS = {
    "Conv2D": "conv",
    "BatchNormalization": "bn",
    "Dropout": "dropout",
    "IC": "ic",
    "GroupedConv2D": "conv",
    "Uout": "uout",
    "ReLU": "relu",
    "Add": "+",
    "Concatenate": "concat",
    "GlobalAveragePooling2D": "pool",
    "Dense": "dense",
}


class Graph:
    """The graph of a functional model, read from its serialized config alone."""

    def __init__(self, model):
        layers = model.get_config()["layers"]
        self.kind = {layer["name"]: KINDS.get(layer["class_name"], layer["class_name"]) for layer in layers}
        self.parents = {
            layer["name"]: re.findall(r'"keras_history": \["([^"]+)"', json.dumps(layer["inbound_nodes"]))
            for layer in layers
        }

    def main_path(self, name="head_dense"):
        """Layer names from the input to `name`, through the branch of each addition."""
        path = []
        while self.parents[name]:
            path.append(name)
            name = self.parents[name][-1]
        return path[::-1]

    def operations(self):
        return [self.kind[name] for name in self.main_path()]
