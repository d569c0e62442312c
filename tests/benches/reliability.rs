//! Benchmark of the faults of `tests/resilience/fault_injection.rs`, ten times each. Figures: docs/reliability.md.

use tests::fault_injection::{Fault, Trouble};

const TIMES: usize = 10;

#[tokio::main]
async fn main() {
    let mut trouble = Trouble::start().await;
    println!(
        "| {TIMES} times | answered | writes acknowledged | refused with 503 | without an answer | lost | doubled | wrong | reads not counted | slowest recovery |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut well = true;
    for fault in [
        Fault::DatabaseStopped,
        Fault::ReplicaKilled,
        Fault::NetworkCut,
    ] {
        let seen = trouble.suffer(fault, TIMES).await;
        println!(
            "| {fault} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} s |",
            seen.answered,
            seen.acknowledged,
            seen.refused,
            seen.broken,
            seen.lost,
            seen.doubled,
            seen.wrong.len(),
            seen.uncounted,
            seen.slowest().as_secs_f64(),
        );
        well &= seen.lost + seen.doubled + seen.wrong.len() == 0;
        for wrong in seen.wrong {
            eprintln!("{wrong}");
        }
    }
    let end = trouble.end().await;
    println!(
        "\nin the end: {} lost, {} doubled, {} wrong",
        end.lost,
        end.doubled,
        end.wrong.len()
    );
    well &= end.lost + end.doubled + end.wrong.len() == 0;
    for wrong in end.wrong {
        eprintln!("{wrong}");
    }
    assert!(well, "a promise was not kept");
}
