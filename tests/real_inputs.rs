//! What people bring and what they get wrong: networks and images from elsewhere, lengths and numbers that
//! cannot be meant, streams that nobody reads. Each test is of one kind of mistake.

mod classes;
mod foreign;
mod numbers;
mod streams;
mod warned;
