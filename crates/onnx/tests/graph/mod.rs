//! ONNX files made by hand, field by field.

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = vec![];
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A field that holds a text or a message.
pub(crate) fn bytes(number: u64, content: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// A field that holds a whole number.
pub(crate) fn int(number: u64, value: i64) -> Vec<u8> {
    [varint(number << 3), varint(value as u64)].concat()
}

pub(crate) fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs = inputs.iter().map(|name| bytes(1, name.as_bytes()));
    let outputs = outputs.iter().map(|name| bytes(2, name.as_bytes()));
    let rest = [bytes(3, format!("the {operator}").as_bytes()), bytes(4, operator.as_bytes())];
    let attributes = attributes.iter().map(|attribute| bytes(5, attribute));
    bytes(1, &inputs.chain(outputs).chain(rest).chain(attributes).collect::<Vec<_>>().concat())
}

pub(crate) fn ints(name: &str, numbers: &[i64]) -> Vec<u8> {
    let numbers: Vec<Vec<u8>> = numbers.iter().map(|number| int(8, *number)).collect();
    [bytes(1, name.as_bytes()), numbers.concat()].concat()
}

/// An initializer: its type and numbers as they lie in memory.
pub(crate) fn tensor(name: &str, kind: i64, dims: &[i64], raw: &[u8]) -> Vec<u8> {
    let dims: Vec<Vec<u8>> = dims.iter().map(|dim| int(1, *dim)).collect();
    bytes(5, &[dims.concat(), int(2, kind), bytes(8, name.as_bytes()), bytes(9, raw)].concat())
}

/// A graph with the input `x` of these lengths (0: any) and the output `y`.
pub(crate) fn model(opset: i64, dims: &[i64], parts: &[Vec<u8>]) -> Vec<u8> {
    let dims: Vec<Vec<u8>> = dims.iter().map(|dim| bytes(1, &int(1, *dim))).collect();
    let kind = bytes(1, &[int(1, 1), bytes(2, &dims.concat())].concat());
    let input = bytes(11, &[bytes(1, b"x"), bytes(2, &kind)].concat());
    let graph = [parts.concat(), input, bytes(12, &bytes(1, b"y"))].concat();
    [int(1, 8), bytes(7, &graph), bytes(8, &int(2, opset))].concat()
}
