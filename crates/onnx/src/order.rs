//! The nodes that the first output needs, in topological order: each node comes after those whose outputs it reads.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::proto::Graph;

/// The nodes that the first output needs.
pub(crate) struct Order<'a> {
    /// Their indices in the file.
    pub(crate) nodes: Vec<usize>,
    /// The nodes among them that read each tensor. A node that reads a tensor twice is listed twice.
    pub(crate) readers: HashMap<&'a str, Vec<usize>>,
    /// The first output.
    pub(crate) output: &'a str,
}

fn damaged(what: String) -> Error {
    Error::Damaged(what)
}

impl<'a> Order<'a> {
    pub(crate) fn of(graph: &'a Graph<'a>) -> Result<Self> {
        let output = *graph.outputs.first().ok_or_else(|| damaged("its graph has no output".into()))?;
        let mut makers = HashMap::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            for name in node.outputs.iter().filter(|name| !name.is_empty()) {
                if makers.insert(*name, index).is_some() {
                    return Err(damaged(format!("two nodes compute `{name}`")));
                }
            }
        }
        let given = graph.inputs.iter().map(|input| input.name);
        let given: std::collections::HashSet<&str> =
            given.chain(graph.initializers.iter().map(|tensor| tensor.name)).collect();
        let nodes = sorted(graph, &makers, &given, output)?;
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for index in &nodes {
            for name in graph.nodes[*index].inputs.iter().filter(|name| !name.is_empty()) {
                readers.entry(name).or_default().push(*index);
            }
        }
        Ok(Self { nodes, readers, output })
    }
}

/// The state of a node in the search.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

fn sorted(
    graph: &Graph<'_>,
    makers: &HashMap<&str, usize>,
    given: &std::collections::HashSet<&str>,
    output: &str,
) -> Result<Vec<usize>> {
    let Some(root) = makers.get(output) else {
        return Err(damaged(format!("no node computes its output `{output}`")));
    };
    let mut marks = vec![Mark::New; graph.nodes.len()];
    marks[*root] = Mark::Open;
    // Nodes on the current path, each with the number of its inputs that were followed.
    let (mut way, mut nodes) = (vec![(*root, 0)], vec![]);
    while let Some((index, next)) = way.last_mut() {
        let Some(name) = graph.nodes[*index].inputs.get(*next) else {
            marks[*index] = Mark::Done;
            nodes.push(*index);
            way.pop();
            continue;
        };
        *next += 1;
        let reader = *index;
        match makers.get(name) {
            _ if name.is_empty() => {}
            Some(maker) => match marks[*maker] {
                Mark::Done => {}
                Mark::Open => {
                    return Err(damaged(format!("its nodes go in a circle through `{name}`")));
                }
                Mark::New => {
                    marks[*maker] = Mark::Open;
                    way.push((*maker, 0));
                }
            },
            None if given.contains(name) => {}
            None => {
                let label = graph.nodes[reader].label();
                return Err(damaged(format!("node `{label}` reads `{name}`, which nothing gives")));
            }
        }
    }
    Ok(nodes)
}
