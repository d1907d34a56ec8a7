//! Virtual time: thousands of agents and three stewards in one process.
