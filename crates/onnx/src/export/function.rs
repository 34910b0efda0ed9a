//! [`Function`] in operators of opset 17. Operators that came later are composed of several.

use temper_nn::Function;

use super::message::{Attribute, Graph};

/// Writes a function of a value; returns the name of the result.
pub(super) fn write(graph: &mut Graph, function: Function, x: &str) -> String {
    let float = |name: &'static str, number: f64| Attribute::Float(name, number as f32);
    match function {
        Function::LeakyRelu { slope } => graph.node("LeakyRelu", &[x], vec![float("alpha", slope)]),
        Function::Elu { alpha, scale: 1.0 } => graph.node("Elu", &[x], vec![float("alpha", alpha)]),
        Function::Elu { alpha, scale } => {
            graph.node("Selu", &[x], vec![float("alpha", alpha), float("gamma", scale)])
        }
        Function::Clip { low, high } => {
            let [low, high] = [low, high].map(|end| graph.numbers(&[end], &[]));
            graph.node("Clip", &[x, &low, &high], vec![])
        }
        Function::Sigmoid => graph.node("Sigmoid", &[x], vec![]),
        Function::HardSigmoid { slope, offset } => {
            graph.node("HardSigmoid", &[x], vec![float("alpha", slope), float("beta", offset)])
        }
        Function::HardSwish => graph.node("HardSwish", &[x], vec![]),
        Function::Silu => {
            let gate = graph.node("Sigmoid", &[x], vec![]);
            graph.node("Mul", &[x, &gate], vec![])
        }
        Function::Gelu => {
            let inside = by(graph, "Mul", x, std::f64::consts::FRAC_1_SQRT_2);
            let inside = graph.node("Erf", &[&inside], vec![]);
            half_of_one_and(graph, &inside, x)
        }
        Function::GeluTanh => {
            let cube = by(graph, "Pow", x, 3.0);
            let cube = by(graph, "Mul", &cube, 0.044_715);
            let sum = graph.node("Add", &[x, &cube], vec![]);
            let root = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
            let inside = by(graph, "Mul", &sum, root);
            let inside = graph.node("Tanh", &[&inside], vec![]);
            half_of_one_and(graph, &inside, x)
        }
        Function::Mish => {
            let inside = graph.node("Softplus", &[x], vec![]);
            let inside = graph.node("Tanh", &[&inside], vec![]);
            graph.node("Mul", &[x, &inside], vec![])
        }
        Function::Softplus => graph.node("Softplus", &[x], vec![]),
        Function::Softsign => graph.node("Softsign", &[x], vec![]),
        Function::Tanh => graph.node("Tanh", &[x], vec![]),
        Function::Erf => graph.node("Erf", &[x], vec![]),
        Function::Exp => graph.node("Exp", &[x], vec![]),
        Function::Log => graph.node("Log", &[x], vec![]),
        Function::Sqrt => graph.node("Sqrt", &[x], vec![]),
        Function::Reciprocal => graph.node("Reciprocal", &[x], vec![]),
        Function::Abs => graph.node("Abs", &[x], vec![]),
        Function::Power { exponent } => by(graph, "Pow", x, exponent),
    }
}

/// Writes an operator of a value and a number.
fn by(graph: &mut Graph, operator: &str, x: &str, number: f64) -> String {
    let number = graph.numbers(&[number], &[]);
    graph.node(operator, &[x, &number], vec![])
}

/// Writes `x (1 + inside) / 2`.
fn half_of_one_and(graph: &mut Graph, inside: &str, x: &str) -> String {
    let sum = by(graph, "Add", inside, 1.0);
    let product = graph.node("Mul", &[x, &sum], vec![]);
    by(graph, "Mul", &product, 0.5)
}
