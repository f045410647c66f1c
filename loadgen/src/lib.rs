//! The load generator's rooms that other programs and tests may use.

pub mod aggregate;
pub mod answer;
pub mod churn;
pub mod churner;
pub mod civil;
pub mod clients;
pub mod clock;
pub mod corrupt;
pub mod create;
pub mod item;
pub mod ledger;
pub mod observer;
pub mod pace;
pub mod pack;
pub mod places;
pub mod population;
pub mod producer;
pub mod progress;
pub mod report;
pub mod rights;
pub mod run;
pub mod seed;
pub mod tail;
pub mod target;
pub mod traffic;
