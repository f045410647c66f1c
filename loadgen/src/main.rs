//! x
mod aggregate;
mod answer;
mod churn;
mod civil;
mod corrupt;
mod item;
mod places;
mod population;
mod rights;
mod traffic;
fn main() {}
