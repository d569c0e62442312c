//! The database stops, a replica is killed, the network is cut, while clients ask. The benchmark `reliability` does it more often.

use tests::fault_injection::{Fault, Trouble};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_no_acknowledged_write_is_lost_or_doubled_and_no_answer_is_wrong() {
    let mut trouble = Trouble::start().await;
    for fault in [
        Fault::DatabaseStopped,
        Fault::ReplicaKilled,
        Fault::NetworkCut,
    ] {
        let figures = trouble.suffer(fault, 2).await;
        println!("{fault}: {figures:?}");
        assert_eq!(figures.wrong, Vec::<String>::new(), "{fault}");
        assert_eq!((figures.lost, figures.doubled), (0, 0), "{fault}");
        assert!(figures.acknowledged > 0, "{fault}: {figures:?}");
    }
    let figures = trouble.end().await;
    assert_eq!(figures.wrong, Vec::<String>::new());
    assert_eq!((figures.lost, figures.doubled), (0, 0));
}
