//! Builds the owners bottom-up, introduces them to each other, stops them in reverse.
