//! Writes networks as ONNX files: opset 17, f32, any batch size. Weights keep their names, so that they match
//! those of state dictionaries.

mod function;
mod message;

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use temper_nn::{Axis, ConvShape, Gather, Layer, Network, Node};

use message::{Attribute, Graph};

/// The version of the operators that are written.
const OPSET: i64 = 17;
/// The version of the file format that belongs to this opset.
const FORMAT: u64 = 8;

/// Returns the bytes of an ONNX file with a network from `pixels`, `[n, c, h, w]` in [0, 1], to `logits`,
/// `[n, classes]`. A weight that is missing or cannot be read is an error.
pub fn export(network: &Network, weights: &BTreeMap<String, Tensor>) -> candle_core::Result<Vec<u8>> {
    let mut writer = Writer { graph: Graph::default(), weights, values: vec![] };
    for node in network.nodes() {
        let value = writer.layer(node)?;
        writer.values.push(value);
    }
    if let Some(last) = writer.values.pop() {
        let flat = writer.graph.node("Flatten", &[&last], vec![Attribute::Int("axis", 1)]);
        writer.graph.node_to("Identity", &[&flat], vec![], "logits");
    }
    let [c, h, w] = network.input_shape();
    let input = ("pixels", vec![c, h, w]);
    Ok(writer.graph.model(input, ("logits", vec![network.classes()]), (FORMAT, OPSET)))
}

/// The file under construction.
struct Writer<'a> {
    graph: Graph,
    weights: &'a BTreeMap<String, Tensor>,
    /// The name of the value that each layer computes.
    values: Vec<String>,
}

/// The shape of constants that are broadcast over values `[c, h, w]`: one for each channel, or one for each number.
fn beside(numbers: usize, [c, h, w]: [usize; 3]) -> Vec<usize> {
    if numbers == c { vec![1, c, 1, 1] } else { vec![1, c, h, w] }
}

/// The padding before and after both axes, in ONNX's order.
fn pads([rows, columns]: [Axis; 2]) -> Vec<i64> {
    [rows.before, columns.before, rows.after, columns.after].map(|pad| pad as i64).to_vec()
}

/// Attributes that convolutions and poolings share.
fn window(axes: [Axis; 2]) -> Vec<Attribute> {
    let both = |f: fn(&Axis) -> usize| axes.iter().map(|axis| f(axis) as i64).collect::<Vec<_>>();
    vec![
        Attribute::Ints("kernel_shape", both(|axis| axis.kernel)),
        Attribute::Ints("strides", both(|axis| axis.stride)),
        Attribute::Ints("pads", pads(axes)),
    ]
}

fn dilations(axes: [Axis; 2]) -> Attribute {
    Attribute::Ints("dilations", axes.iter().map(|axis| axis.dilation as i64).collect())
}

impl Writer<'_> {
    /// The name, the numbers and the shape of a weight of the network.
    fn weight(&mut self, layer: &str, part: &str) -> candle_core::Result<(String, Vec<f32>, Vec<usize>)> {
        let name = format!("{layer}.{part}");
        let Some(tensor) = self.weights.get(&name) else {
            candle_core::bail!("the weight `{name}` is missing")
        };
        let numbers = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok((name, numbers, tensor.dims().to_vec()))
    }

    fn kept(&mut self, layer: &str, part: &str) -> candle_core::Result<String> {
        let (name, numbers, dims) = self.weight(layer, part)?;
        Ok(self.graph.floats(&name, &numbers, &dims))
    }

    /// Writes a layer; returns the name of its value.
    fn layer(&mut self, node: &Node) -> candle_core::Result<String> {
        let inputs: Vec<String> = node.inputs.iter().map(|id| self.values[id.index()].clone()).collect();
        let x = inputs.first().map_or("pixels", String::as_str);
        Ok(match &node.layer {
            Layer::Input => "pixels".into(),
            Layer::Normalize { mean, std } => {
                let mean = self.graph.numbers(mean, &beside(mean.len(), node.shape));
                let std = self.graph.numbers(std, &beside(std.len(), node.shape));
                let centred = self.graph.node("Sub", &[x, &mean], vec![]);
                self.graph.node("Div", &[&centred, &std], vec![])
            }
            Layer::Conv { name, shape, bias, linear, .. } => self.conv(x, name, shape, [*bias, *linear])?,
            Layer::BatchNorm { name, affine, epsilon } => {
                self.batch_norm(x, name, (*affine, *epsilon), node)?
            }
            Layer::Relu => self.graph.node("Relu", &[x], vec![]),
            Layer::Function(function) => function::write(&mut self.graph, *function, x),
            Layer::PRelu { name, .. } => {
                // The slopes, one per channel, are broadcast over rows and columns.
                let (name, numbers, dims) = self.weight(name, "weight")?;
                let slopes = self.graph.floats(&name, &numbers, &[dims.iter().product(), 1, 1]);
                self.graph.node("PRelu", &[x, &slopes], vec![])
            }
            Layer::Affine { scale, shift } => {
                let [scale, shift] = [scale, shift].map(|numbers| {
                    let dims = beside(numbers.len(), node.shape);
                    self.graph.numbers(numbers, &dims)
                });
                let scaled = self.graph.node("Mul", &[x, &scale], vec![]);
                self.graph.node("Add", &[&scaled, &shift], vec![])
            }
            Layer::MaxPool(pool)
                if pool.axes.iter().any(|axis| axis.before.max(axis.after) >= axis.kernel) =>
            {
                candle_core::bail!("ONNX's max pooling takes padding below the window's size only")
            }
            Layer::MaxPool(pool) => {
                let attributes = [window(pool.axes), vec![dilations(pool.axes)]].concat();
                self.graph.node("MaxPool", &[x], attributes)
            }
            Layer::AveragePool(pool) => self.average_pool(x, pool.axes)?,
            Layer::GlobalAveragePool => self.graph.node("GlobalAveragePool", &[x], vec![]),
            Layer::Concat => {
                let all: Vec<&str> = inputs.iter().map(String::as_str).collect();
                self.graph.node("Concat", &all, vec![Attribute::Int("axis", 1)])
            }
            Layer::PadChannels { before, after } => {
                let pads = [0, *before as i64, 0, 0, 0, *after as i64, 0, 0];
                let pads = self.graph.integers(&pads, &[8]);
                self.graph.node("Pad", &[x, &pads], vec![])
            }
            Layer::Add => self.graph.node("Add", &[x, &inputs[1]], vec![]),
            Layer::Multiply => self.graph.node("Mul", &[x, &inputs[1]], vec![]),
            Layer::Gather(gather) => self.gather(x, gather),
        })
    }

    fn conv(
        &mut self,
        x: &str,
        name: &str,
        shape: &ConvShape,
        [bias, linear]: [bool; 2],
    ) -> candle_core::Result<String> {
        let weight = self.kept(name, "weight")?;
        let bias = if bias { Some(self.kept(name, "bias")?) } else { None };
        let last = bias.as_deref();
        if linear {
            let flat = self.graph.node("Flatten", &[x], vec![Attribute::Int("axis", 1)]);
            let inputs: Vec<&str> = [Some(&*flat), Some(&*weight), last].into_iter().flatten().collect();
            let y = self.graph.node("Gemm", &inputs, vec![Attribute::Int("transB", 1)]);
            let dims = self.graph.integers(&[0, shape.channels as i64, 1, 1], &[4]);
            return Ok(self.graph.node("Reshape", &[&y, &dims], vec![]));
        }
        let mut attributes = window(shape.axes);
        attributes.push(dilations(shape.axes));
        attributes.push(Attribute::Int("group", shape.groups as i64));
        let inputs: Vec<&str> = [Some(x), Some(&*weight), last].into_iter().flatten().collect();
        Ok(self.graph.node("Conv", &inputs, attributes))
    }

    fn batch_norm(
        &mut self,
        x: &str,
        name: &str,
        (affine, epsilon): (bool, f64),
        node: &Node,
    ) -> candle_core::Result<String> {
        let channels = node.shape[0];
        let (scale, shift) = if affine {
            (self.kept(name, "weight")?, self.kept(name, "bias")?)
        } else {
            let ones = self.graph.numbers(&vec![1.0; channels], &[channels]);
            (ones, self.graph.numbers(&vec![0.0; channels], &[channels]))
        };
        let (mean, variance) = (self.kept(name, "running_mean")?, self.kept(name, "running_var")?);
        let inputs = [x, &scale, &shift, &mean, &variance];
        Ok(self.graph.node("BatchNormalization", &inputs, vec![Attribute::Float("epsilon", epsilon as f32)]))
    }

    /// Writes a mean over windows. Dilation exists only since opset 19.
    fn average_pool(&mut self, x: &str, axes: [Axis; 2]) -> candle_core::Result<String> {
        if axes.iter().any(|axis| axis.dilation > 1 && axis.kernel > 1) {
            candle_core::bail!("opset {OPSET} has no average pooling with dilation");
        }
        let mut attributes = window(axes);
        attributes.push(Attribute::Int("count_include_pad", 1));
        Ok(self.graph.node("AveragePool", &[x], attributes))
    }

    /// Writes weighted sums of numbers that are gathered by index. Each row is as long as the longest sum;
    /// missing summands have weight 0.
    fn gather(&mut self, x: &str, gather: &Gather) -> String {
        let [c, h, w] = gather.shape();
        let outputs = c * h * w;
        let most = (0..outputs).map(|i| gather.summands(i).count()).max().unwrap_or(0).max(1);
        let (mut index, mut factors) = (vec![0; outputs * most], vec![0.0; outputs * most]);
        for output in 0..outputs {
            for (i, (input, weight)) in gather.summands(output).enumerate() {
                (index[output * most + i], factors[output * most + i]) = (input as i64, weight);
            }
        }
        let plain = most == 1 && factors.iter().all(|factor| *factor == 1.0);
        let flat = self.graph.node("Flatten", &[x], vec![Attribute::Int("axis", 1)]);
        let index = self.graph.integers(&index, &[outputs * most]);
        let mut y = self.graph.node("Gather", &[&flat, &index], vec![Attribute::Int("axis", 1)]);
        if !plain {
            let rows = self.graph.integers(&[0, outputs as i64, most as i64], &[3]);
            y = self.graph.node("Reshape", &[&y, &rows], vec![]);
            let factors = self.graph.numbers(&factors, &[1, outputs, most]);
            y = self.graph.node("Mul", &[&y, &factors], vec![]);
            let axis = self.graph.integers(&[2], &[1]);
            y = self.graph.node("ReduceSum", &[&y, &axis], vec![Attribute::Int("keepdims", 0)]);
        }
        let dims = self.graph.integers(&[0, c as i64, h as i64, w as i64], &[4]);
        self.graph.node("Reshape", &[&y, &dims], vec![])
    }
}
