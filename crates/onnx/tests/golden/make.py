"""ONNX files that the tests of temper-onnx read, with the logits that ONNX's own reference gives. Needs onnx, numpy and
safetensors.

    python crates/onnx/tests/golden/make.py

`graphs.safetensors` holds, for each graph NAME, its file as bytes (`NAME.onnx`), pixels `[n, c, h, w]` (`NAME.pixels`)
and logits `[n, classes]` (`NAME.logits`).
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
RANDOM = np.random.default_rng(5)
SAMPLES = 2
kept = {}


def weight(*shape, scale=None):
    fan = int(np.prod(shape[1:])) or 1
    return (RANDOM.standard_normal(shape) * (scale or fan**-0.5)).astype(np.float32)


class Graph:
    """Nodes one after the other; `x` is the last value."""

    def __init__(self, shape=(3, 8, 8), opset=13, batch="n", input_name="image", nhwc=False):
        self.shape, self.opset, self.batch, self.nhwc = shape, opset, batch, nhwc
        self.nodes, self.weights, self.count, self.x = [], [], 0, input_name
        self.input, self.samples = input_name, SAMPLES

    def constant(self, array, name=None, node=False):
        self.count += 1
        name = name or f"c{self.count}"
        tensor = numpy_helper.from_array(np.array(array, order="C"), name)
        if node:
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.weights.append(tensor)
        return name

    def __call__(self, operator, *inputs, outputs=1, x=True, **attributes):
        self.count += 1
        names = [f"v{self.count}_{i}" for i in range(outputs)]
        inputs = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        if x:
            inputs = [self.x] + inputs
        self.nodes.append(helper.make_node(operator, inputs, names, name=f"{operator}_{self.count}", **attributes))
        self.x = names[0]
        return names[0] if outputs == 1 else names

    def ints(self, *numbers):
        return self.constant(np.array(numbers, np.int64))

    def number(self, value):
        return self.constant(np.array(value, np.float32))

    def conv(self, out, fan, kernel=3, bias=True, name=None, **attributes):
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        name = name or f"conv{self.count}"
        weights = [self.constant(weight(out, fan, *kernel), name + ".weight")]
        if bias:
            weights.append(self.constant(weight(out, scale=0.3), name + ".bias"))
        return self("Conv", *weights, **attributes)

    def norm(self, channels, name=None):
        name = name or f"bn{self.count}"
        parts = [1 + weight(channels, scale=0.2), weight(channels), weight(channels), 0.5 + weight(channels) ** 2]
        names = ["weight", "bias", "running_mean", "running_var"]
        return self("BatchNormalization", *[self.constant(p, f"{name}.{n}") for p, n in zip(parts, names)])

    def head(self, features, classes=4):
        """Logits of all numbers."""
        self("Flatten", axis=1)
        self("Gemm", self.constant(weight(classes, features), "fc.weight"), self.constant(weight(classes), "fc.bias"),
             transB=1)

    def save(self, name, output=None, extra_outputs=()):
        dims = list(self.shape)
        info = helper.make_tensor_value_info(self.input, TensorProto.FLOAT, [self.batch] + dims)
        names = [output or self.x, *extra_outputs]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
        graph = helper.make_graph(self.nodes, name, [info], outputs, self.weights)
        model = helper.make_model(graph, producer_name="make.py", ir_version=8,
                                  opset_imports=[helper.make_opsetid("", self.opset)])
        samples = self.batch if isinstance(self.batch, int) else self.samples
        pixels = RANDOM.random([samples] + dims).astype(np.float32)
        logits = ReferenceEvaluator(model).run([output or self.x], {self.input: pixels})[0]
        if getattr(self, "before_softmax", None):
            logits = ReferenceEvaluator(self.before_softmax).run(None, {self.input: pixels})[0]
        assert np.isfinite(logits).all(), name
        if self.nhwc:
            pixels = pixels.transpose(0, 3, 1, 2)
        if pixels.ndim == 3:
            pixels = pixels[:, None]
        kept[name + ".onnx"] = np.frombuffer(model.SerializeToString(), np.uint8)
        kept[name + ".pixels"] = np.ascontiguousarray(pixels)
        kept[name + ".logits"] = np.ascontiguousarray(logits.reshape(samples, -1).astype(np.float32))


def unary(name, operator, opset=13, shape=(2, 3, 3), prepare=None, inputs=(), **attributes):
    g = Graph(shape, opset)
    g("Sub", g.number(0.5))
    g("Mul", g.number(5.0))
    if prepare:
        g(prepare)
    g(operator, *[g.number(i) if isinstance(i, float) else i for i in inputs], **attributes)
    g.head(int(np.prod(shape)))
    g.save(name)


def activations():
    for operator in ["Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Elu", "Selu", "LeakyRelu", "HardSigmoid",
                     "Neg", "Abs", "Erf", "Exp"]:
        unary("unary-" + operator, operator)
    for operator in ["Sqrt", "Log", "Reciprocal"]:
        unary("unary-" + operator, operator, prepare="Softplus")
    unary("unary-Celu", "Celu", alpha=1.5)
    unary("unary-LeakyRelu-7", "LeakyRelu", opset=7, alpha=0.2)
    unary("unary-HardSwish", "HardSwish", opset=14)
    unary("unary-Mish", "Mish", opset=18)
    unary("unary-Gelu", "Gelu", opset=20)
    unary("unary-GeluTanh", "Gelu", opset=20, approximate="tanh")
    unary("unary-Clip-7", "Clip", opset=7, min=0.0, max=1.5)
    unary("unary-Clip-13", "Clip", inputs=(-0.5, 0.75))
    unary("unary-Clip-open", "Clip", inputs=("", 0.75))
    unary("unary-Pow", "Pow", prepare="Softplus", inputs=(1.7,))
    unary("unary-Square", "Pow", inputs=(2.0,))
    unary("unary-Max", "Max", inputs=(0.3,))
    unary("unary-Min", "Min", inputs=(0.3,))
    unary("prelu-channels", "PRelu", inputs=(weight(2, 1, 1),))
    unary("prelu-shared", "PRelu", inputs=(weight(1),))
    unary("prelu-every", "PRelu", inputs=(weight(2, 3, 3),))
    for name, parts in {"silu": ["Sigmoid"], "mish": ["Softplus", "Tanh"]}.items():
        g = Graph((2, 3, 3))
        g("Sub", g.number(0.5))
        x = g.x
        for part in parts:
            g(part)
        g("Mul", x)
        g.head(18)
        g.save("gated-" + name)
    for name, beta in {"softplus": None, "softplus-scaled": 2.5}.items():
        # As PyTorch's newer exporter writes it; some values are above the threshold.
        g = Graph((2, 3, 3), opset=18)
        x = g("Mul", g.number(60.0))
        y = x if beta is None else g("Mul", g.number(beta))
        softplus = g("Softplus")
        if beta is not None:
            softplus = g("Div", g.number(beta))
        above = g("Greater", y, g.number(20.0), x=False)
        g("Where", above, x, softplus, x=False)
        g("Mul", g.number(0.05))
        g.head(18)
        g.save("chosen-" + name)
    g = Graph((2, 3, 3))
    x = g("Sub", g.number(0.5))
    g("Div", g.number(2**0.5))
    g("Erf")
    g("Add", g.number(1.0))
    g("Mul", x)
    g("Mul", g.number(0.5))
    g.head(18)
    g.save("gated-gelu")


def convolutions():
    cases = {
        "plain": dict(pads=[1, 1, 1, 1]),
        "strided": dict(strides=[2, 2], pads=[1, 1, 1, 1]),
        "dilated": dict(dilations=[2, 1], pads=[2, 1, 2, 1]),
        "one-sided": dict(pads=[0, 1, 2, 0]),
        "same-upper": dict(auto_pad="SAME_UPPER", strides=[2, 2]),
        "same-lower": dict(auto_pad="SAME_LOWER", strides=[2, 2]),
        "valid": dict(auto_pad="VALID"),
    }
    for name, attributes in cases.items():
        g = Graph((3, 7, 6), opset=11)
        g.conv(5, 3, **attributes)
        g("Relu")
        g("GlobalAveragePool")
        g.head(5)
        g.save("conv-" + name)
    g = Graph((4, 7, 6), opset=7, batch=1)
    g.conv(6, 2, (3, 2), group=2, name="grouped")
    g.conv(6, 1, (1, 3), group=6, bias=False, name="depthwise")
    g("Add", weight(1, 6, 1, 1))
    g("GlobalMaxPool")
    g.head(6)
    g.save("conv-groups")
    g = Graph((3, 6, 6))
    g("Pad", g.ints(0, 0, 1, 2, 0, 0, 0, 1))
    g.conv(4, 3)
    g("Pad", g.ints(0, 1, 0, 0, 0, 2, 0, 0))
    g("Relu")
    g.head(7 * 5 * 7)
    g.save("conv-padded")


def pools():
    cases = {
        "max": ("MaxPool", dict(kernel_shape=[3, 2], strides=[2, 1])),
        "max-padded": ("MaxPool", dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
        "max-ceil": ("MaxPool", dict(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)),
        "max-dilated": ("MaxPool", dict(kernel_shape=[2, 2], dilations=[2, 3])),
        "max-same": ("MaxPool", dict(kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")),
        "average": ("AveragePool", dict(kernel_shape=[2, 3], strides=[2, 2])),
        "average-excluding": ("AveragePool", dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
        "average-including": ("AveragePool", dict(kernel_shape=[3, 3], pads=[1, 0, 1, 2], count_include_pad=1)),
        "average-ceil": ("AveragePool", dict(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)),
        "average-whole": ("AveragePool", dict(kernel_shape=[8, 8])),
        "global-average": ("GlobalAveragePool", {}),
        "global-max": ("GlobalMaxPool", {}),
    }
    for name, (operator, attributes) in cases.items():
        g = Graph((2, 8, 8), opset=12)
        g(operator, **attributes)
        g("Relu")
        features = {"max": 2 * 3 * 7, "max-padded": 32, "max-ceil": 32, "max-dilated": 2 * 6 * 5, "max-same": 32,
                    "average": 2 * 4 * 3, "average-excluding": 32, "average-including": 2 * 8 * 8,
                    "average-ceil": 32}.get(name, 2)
        g.head(features)
        g.save("pool-" + name)
    g = Graph((1, 20, 18), opset=12)
    g("GlobalMaxPool")
    g.head(1)
    g.save("pool-large")


def arithmetic():
    g = Graph((3, 4, 4))
    g("Sub", np.array([0.5, 0.4, 0.3], np.float32).reshape(1, 3, 1, 1))
    g("Div", np.array([0.2, 0.3, 0.4], np.float32).reshape(3, 1, 1))
    g.conv(2, 3, pads=[1, 1, 1, 1])
    a = g("Mul", weight(4, 4))
    b = g("Sub", g.number(1.5))
    g("Sub", a, x=True)
    g("Div", g.number(3.0))
    g.nodes.append(helper.make_node("Sub", [g.number(2.0), g.x], ["turned"]))
    g.x = "turned"
    g("Add", weight(1, 1, 4, 4))
    g("Abs")
    g("Add", g.number(1.0))
    g.nodes.append(helper.make_node("Div", [b, g.x], ["quotient"]))
    g.x = "quotient"
    g("ReduceMean", axes=[2, 3], keepdims=0)
    g("MatMul", weight(2, 3), x=True)
    g("Add", weight(3))
    g.save("arithmetic")
    g = Graph((2, 3, 4))
    rows = g("ReduceMean", axes=[3])
    g.x = "image"
    columns = g("ReduceSum", g.ints(2))
    g.nodes.append(helper.make_node("Add", [rows, columns], ["both"]))
    g.nodes.append(helper.make_node("Max", ["both", "image"], ["most"]))
    g.nodes.append(helper.make_node("Sum", ["most", rows, g.number(0.25)], ["total"]))
    g.nodes.append(helper.make_node("Mul", ["total", rows], ["product"]))
    g.x = "product"
    g.head(24)
    g.save("broadcasting")


def shapes():
    g = Graph((3, 4, 4), batch=3)
    g("Transpose", perm=[0, 2, 3, 1])
    g("Reshape", g.ints(3, 16, 3))
    g("Relu")
    g("Transpose", perm=[2, 0, 1])
    g("Slice", g.ints(-1, 1), g.ints(-4, 15), g.ints(0, 2), g.ints(-1, 3))
    g("Transpose", perm=[1, 2, 0])
    g("MatMul", weight(3, 5))
    g("Add", weight(5))
    g("Tanh")
    g("Reshape", g.ints(0, -1))
    g("MatMul", weight(25, 4))
    g.save("shapes-fixed-batch")
    g = Graph((4, 3, 3), opset=13)
    a, b, c = g("Split", g.ints(1, 2, 1), outputs=3, axis=1)
    g.x = b
    g("Gather", g.ints(1, 0, 1), axis=1)
    g("Pad", g.ints(0, 0, 1, 1, 0, 0, 1, 0), mode="reflect")
    d = g("Slice", g.ints(0, 1), g.ints(2, 3), g.ints(2, 3))
    g.x = a
    e = g("Slice", g.ints(0, 0), g.ints(2, 2), g.ints(2, 3))
    g.x = c
    g("Slice", g.ints(1, 1), g.ints(3, 3), g.ints(2, 3))
    g("Pad", g.ints(0, 0, 1, 0, 0, 0, 0, 1), mode="edge")
    f = g("Slice", g.ints(0, 1), g.ints(9, 9), g.ints(2, 3), g.ints(2, 1))
    g.nodes.append(helper.make_node("Concat", [d, e, f], ["joined"], axis=1))
    g.x = "joined"
    g("Unsqueeze", g.ints(1))
    g("Squeeze", g.ints(1))
    g("Pad", g.ints(0, 0, 0, 1, 0, 0, 1, 0), g.number(0.7))
    g("Relu")
    g.head(5 * 3 * 3)
    g.save("shapes-moves")
    g = Graph((2, 3, 3), opset=13)
    g("Relu")
    x = g.x
    g("Shape")
    g("Gather", g.constant(np.array(0, np.int64)), axis=0)
    n = g("Unsqueeze", g.ints(0))
    g.nodes.append(helper.make_node("Concat", [n, g.ints(-1)], ["target"], axis=0))
    g.nodes.append(helper.make_node("Reshape", [x, "target"], ["flat"]))
    g.x = "flat"
    g("MatMul", weight(18, 4))
    g.save("shapes-arithmetic")
    g = Graph((4, 4, 4), opset=13)
    g("DepthToSpace", blocksize=2)
    g("SpaceToDepth", blocksize=4)
    g("Tile", g.ints(1, 1, 2, 1))
    g("ReduceMax", axes=[1], keepdims=0)
    g.head(8)
    g.save("shapes-blocks")
    for name, attributes, scales in [
        ("nearest", dict(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"), (2, 2)),
        ("nearest-half", dict(mode="nearest"), (1.5, 0.75)),
        ("linear", dict(mode="linear"), (2, 1.5)),
        ("linear-corners", dict(mode="linear", coordinate_transformation_mode="align_corners"), (1.75, 2)),
    ]:
        g = Graph((1, 4, 4), opset=13)
        scales = np.array([1, 1, *scales], np.float32)
        g("Resize", "", scales, **attributes)
        rows, columns = int(4 * scales[2]), int(4 * scales[3])
        g.head(rows * columns)
        g.save("resize-" + name)


def norms():
    # ONNX's reference sums squares for as many channels as there are samples.
    g = Graph((4, 5, 5), opset=13)
    g.samples = 4
    g("LRN", size=3, alpha=0.5, beta=0.75, bias=2.0)
    g("InstanceNormalization", 1 + weight(4, scale=0.1), weight(4))
    g.head(100)
    g.save("norm-lrn-instance")
    g = Graph((6, 5, 5), opset=17)
    g("Transpose", perm=[0, 2, 3, 1])
    g("LayerNormalization", 1 + weight(6, scale=0.1), weight(6), axis=-1, epsilon=1e-6)
    g("Transpose", perm=[0, 3, 1, 2])
    g.norm(6)
    g.head(150)
    g.save("norm-layer")
    # Before opset 14, ONNX's reference normalises by the batch's statistics.
    g = Graph((6, 2, 2), opset=15)
    g("Flatten")
    g("Gemm", g.constant(weight(24, 5), "first"), weight(1, 5), alpha=0.5, beta=2.0)
    g.norm(5)
    g("Dropout")
    g("Gemm", g.constant(weight(5, 4)), g.constant(weight(4)))
    g.save("norm-features")


def networks():
    def softmaxed(g, name, **attributes):
        logits = g.x
        g.before_softmax = helper.make_model(
            helper.make_graph(g.nodes[:], name,
                              [helper.make_tensor_value_info(g.input, TensorProto.FLOAT, [g.batch, *g.shape])],
                              [helper.make_tensor_value_info(logits, TensorProto.FLOAT, None)], g.weights),
            opset_imports=[helper.make_opsetid("", g.opset)], ir_version=8)
        g("Softmax", **attributes)
        g.save(name)

    for opset in [7, 13, 21]:
        g = Graph((3, 8, 8), opset, batch=1 if opset == 7 else "n")
        g.conv(8, 3, name="stem", pads=[1, 1, 1, 1], strides=[2, 2])
        g("Relu")
        for block in range(2):
            x = g.x
            g.conv(8, 8, name=f"block{block}.conv1", pads=[1, 1, 1, 1])
            g("Relu")
            g.conv(8, 8, name=f"block{block}.conv2", pads=[1, 1, 1, 1])
            g("Add", x)
            g("Relu")
        g("GlobalAveragePool")
        g.head(8)
        softmaxed(g, f"residual-{opset}")
    g = Graph((3, 8, 8), opset=15)
    g.conv(8, 3, name="stem", pads=[1, 1, 1, 1], bias=False)
    g.norm(8, "stem_bn")
    g("Mul", 1 + weight(8, 1, 1))
    g("Add", weight(1, 8, 1, 1))
    g("Clip", g.number(0.0), g.number(6.0))
    x = g.x
    g.conv(16, 8, 1, bias=False, name="expand")
    g.norm(16)
    g("Clip", g.number(0.0), g.number(6.0))
    g.conv(16, 1, name="depthwise", group=16, pads=[1, 1, 1, 1], bias=False)
    g.norm(16)
    y = g("Clip", g.number(0.0), g.number(6.0))
    g("GlobalAveragePool")
    g.conv(4, 16, 1, name="squeeze")
    g("Relu")
    g.conv(16, 4, 1, name="excite")
    g("HardSigmoid", alpha=1 / 6, beta=0.5)
    g("Mul", y)
    g.conv(8, 16, 1, bias=False, name="project")
    g.norm(8)
    g("Add", x)
    g("ReduceMean", axes=[2, 3], keepdims=1)
    g.head(8)
    g.save("mobile")
    g = Graph((4, 6, 6))
    g.conv(6, 2, 1, group=2, name="first")
    g("Reshape", g.ints(0, 2, 3, 6, 6))
    g("Transpose", perm=[0, 2, 1, 3, 4])
    g("Reshape", g.ints(-1, 6, 6, 6))
    g.conv(6, 1, group=6, name="second", pads=[1, 1, 1, 1])
    x = g.x
    g("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    y = g.x
    g.x = x
    g("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    g.nodes.append(helper.make_node("Concat", [y, g.x], ["both"], axis=1))
    g.x = "both"
    g.head(12 * 9)
    g.save("shuffle")
    g = Graph((8, 8, 3), nhwc=True, opset=13)
    g("Sub", np.array([0.5, 0.4, 0.3], np.float32))
    g("Mul", np.array([2, 3, 4], np.float32))
    g("Transpose", perm=[0, 3, 1, 2])
    g.conv(6, 3, name="k1", strides=[2, 2], auto_pad="SAME_UPPER", bias=False)
    g("Transpose", perm=[0, 2, 3, 1])
    g("Add", weight(6))
    g("Relu")
    x = g.x
    g("ReduceMean", axes=[1, 2], keepdims=1)
    g("Transpose", perm=[0, 3, 1, 2])
    g.conv(6, 6, 1, name="gate")
    g("Sigmoid")
    g("Transpose", perm=[0, 2, 3, 1])
    y = g("Mul", x)
    g.nodes.append(helper.make_node("Concat", [x, y], ["both"], axis=3))
    g.x = "both"
    g("Pad", g.ints(0, 1, 1, 0, 0, 1, 1, 0))
    g("Transpose", perm=[0, 3, 1, 2])
    g.conv(5, 12, name="k2")
    g("Transpose", perm=[0, 2, 3, 1])
    g("PRelu", weight(1, 1, 5))
    g("Reshape", g.ints(-1, 80))
    g("MatMul", weight(80, 4))
    g("Add", weight(4))
    softmaxed(g, "keras")
    g = Graph((28, 28), input_name="x")
    g("Flatten")
    g("Gemm", g.constant(weight(16, 784), "0.weight"), g.constant(weight(16), "0.bias"), transB=1)
    g("Relu")
    g("Gemm", g.constant(weight(4, 16), "2.weight"), g.constant(weight(4), "2.bias"), transB=1)
    g.save("perceptron")


activations()
convolutions()
pools()
arithmetic()
shapes()
norms()
networks()
save_file(kept, HERE / "graphs.safetensors", metadata={"onnx": onnx.__version__})
