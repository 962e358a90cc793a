//! The program. All of it is in the library, where it is compiled once for the binary, the tests and the benchmarks.

fn main() -> std::process::ExitCode {
    nightbell::program::main()
}
