# What developers run often; `just` lists it.
default:
    @just --list

# All that has to pass.
ci:
    .ci/run

# The tests.
test:
    cargo test --workspace

# The tests on each instruction set that this machine has.
test-isa:
    for isa in portable avx2 avx512; do BEDSTONE_ISA=$isa cargo test --workspace || exit 1; done

# Formatting and lints, repaired where that is possible.
fix:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty

# The fixtures of reference implementations.
parity:
    cargo run --release -- parity --quiet tests/fixtures/{gpt2,llama,llama-tied,mistral,qwen2,qwen3,gemma3-text,train-gpt2,train-llama} tests/fixtures-extra/*/
