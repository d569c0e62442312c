//! Many banks at once: everybody who can answer is heard, and everybody else's reason is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bank_client::aggregator::{AccountResult, Aggregator, AggregatorLimits, Member, Totals};
use bank_client::{
    AccountInformation, Bank, Breaker, Entry, Error, ErrorKind, Limits, Retries, ServerRefusal,
};
use futures::future::pending;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use shared_types::pki::trust::Refusal;
use shared_types::xs2a::transaction::Transaction;
use tests::consent_requests::since;
use tests::many_banks::{Manners, ManyBanks};
use tests::programs::{both, own as own_program};
use tests::wait::wait_for;
use tokio::sync::Barrier;

const LATENCY: Duration = Duration::from_millis(50);

/// The handles' own limit for an answer, which is less than the default.
const ANSWER_BYTES: usize = 1024 * 1024;

/// No living bank is given up, however slow the machine; a silent one soon.
fn patient(manners: Manners) -> Limits {
    Limits {
        connecting: if manners == Manners::Silent {
            Duration::from_millis(300)
        } else {
            Duration::from_mins(1)
        },
        call: Duration::from_secs(90),
        answer: ANSWER_BYTES,
        ..Limits::default()
    }
}

fn without_end() -> AggregatorLimits {
    AggregatorLimits {
        each: Duration::from_mins(2),
        deadline: Duration::from_mins(2),
        ..AggregatorLimits::default()
    }
}

fn handles(banks: &ManyBanks) -> Vec<Bank> {
    banks.handles(|bank, builder| builder.limits(patient(bank.manners)))
}

/// Handles that ask twice where that is safe.
fn persistent_handles(banks: &ManyBanks) -> Vec<Bank> {
    let retries = Retries {
        attempts: 2,
        first_pause: Duration::from_millis(1),
        ..Retries::default()
    };
    banks.handles(|bank, builder| {
        let builder = builder.limits(patient(bank.manners));
        builder.retries(retries).breaker(Breaker::default())
    })
}

fn consents(handles: Vec<Bank>) -> Vec<AccountInformation> {
    let handles = handles.into_iter();
    handles.map(|bank| bank.with_consent("c")).collect()
}

/// Reason for which a bank cannot be reached.
fn reason(error: &Error) -> &'static str {
    match &error.kind {
        ErrorKind::Unreachable { .. } => "unreachable",
        ErrorKind::Timeout { .. } => "timeout",
        ErrorKind::TheyRefused { .. } => "they refused us",
        ErrorKind::WeRefused {
            reason: ServerRefusal::Trust(Refusal::UnknownIssuer { .. }),
            ..
        } => "another authority",
        ErrorKind::WeRefused {
            reason: ServerRefusal::WrongOrganisation { .. },
            ..
        } => "another bank",
        ErrorKind::Interrupted { .. } => "interrupted",
        ErrorKind::Refused { status: 503, .. } => "503",
        ErrorKind::Refused { status: 429, .. } => "429",
        ErrorKind::Malformed { .. } => "malformed",
        ErrorKind::TooLarge {
            limit: ANSWER_BYTES,
        } => "too large",
        other => panic!("{other:?}"),
    }
}

fn expected(manners: Manners) -> &'static str {
    match manners {
        Manners::Closed => "unreachable",
        Manners::Silent => "timeout",
        Manners::Distrustful => "they refused us",
        Manners::OtherAuthority => "another authority",
        Manners::Impostor => "another bank",
        Manners::Reset => "interrupted",
        Manners::Down => "503",
        Manners::Busy => "429",
        Manners::Malformed => "malformed",
        Manners::Endless => "too large",
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_banks_ten_are_dead_each_in_its_own_way() {
    // The dead ones are among the living.
    let manners = (0..200).map(|number| match number % 20 {
        7 => Manners::DEAD[number / 20],
        _ => Manners::Good,
    });
    let banks = ManyBanks::start(manners, LATENCY).await;
    let aggregator = Aggregator::builder()
        .members(consents(persistent_handles(&banks)))
        .limits(without_end())
        .build();

    let began = Instant::now();
    let mut answers = aggregator.accounts(true);
    let (mut totals, mut heard, mut reasons) = (Totals::default(), Vec::new(), BTreeMap::new());
    while let Some(answer) = answers.next().await {
        match answer.outcome {
            Ok(accounts) => {
                assert_eq!(accounts.len(), 2);
                for account in &accounts {
                    totals.add_account(account);
                }
                heard.push((began.elapsed(), answer.member));
            }
            Err(error) => {
                assert_eq!(*answer.bank, error.bank);
                assert!(reasons.insert(answer.bank, reason(&error)).is_none());
            }
        }
    }
    println!(
        "190 of 200 banks answered within {:.2?}, the last was given up after {:.2?}",
        heard.last().unwrap().0,
        began.elapsed()
    );

    let names: BTreeSet<_> = heard.iter().map(|(_, name)| name.to_string()).collect();
    let (living, dead): (Vec<_>, Vec<_>) = banks
        .banks
        .iter()
        .partition(|bank| bank.manners == Manners::Good);
    let living: BTreeSet<_> = living.iter().map(|bank| bank.name.clone()).collect();
    assert_eq!(heard.len(), 190);
    assert_eq!(names, living);
    assert_eq!(reasons.len(), 10);
    for bank in dead {
        assert_eq!(
            reasons[bank.name.as_str()],
            expected(bank.manners),
            "{}",
            bank.name
        );
    }
    let distinct: BTreeSet<_> = reasons.values().collect();
    assert_eq!(distinct.len(), 10);

    let asked = |manners| {
        let bank = banks.banks.iter().find(|bank| bank.manners == manners);
        bank.unwrap().requests()
    };
    assert_eq!(asked(Manners::Down), 2);
    assert_eq!(asked(Manners::Busy), 1, "in an hour, it said");
    assert_eq!(asked(Manners::Malformed), 1);

    // Each has n.01 and n.02, where n is its number.
    let numbers = (0..200_u32).filter(|number| number % 20 != 7).sum::<u32>();
    let total = totals.iter().next().unwrap();
    assert_eq!(
        total.to_string(),
        format!("{}.70 EUR closing booked", 2 * numbers + 5)
    );
    assert_eq!(total.balances, 380);
}

/// One bank that lives, and handles for it.
async fn one(manners: Manners) -> (ManyBanks, Bank) {
    let banks = ManyBanks::start([manners], Duration::ZERO).await;
    let bank = handles(&banks).remove(0);
    (banks, bank)
}

#[tokio::test]
async fn who_has_not_answered_at_the_deadline_is_told_apart_from_who_was_not_asked() {
    let banks = ManyBanks::start([Manners::Closed; 2], Duration::ZERO).await;
    let handles = handles(&banks);
    let quick = Member::new("quick", handles[0].clone());
    let slow = ["first", "second"].map(|key| Member::new(key, handles[1].clone()));
    // Long enough for the first answer, which needs no network, and for the second question.
    let deadline = Duration::from_secs(6);
    let aggregator = Aggregator::builder()
        .member(quick)
        .members(slow)
        .limits(AggregatorLimits {
            per_bank: 1,
            deadline,
            ..AggregatorLimits::default()
        })
        .build();
    let answers: Vec<_> = aggregator
        .request(|bank| async move {
            if bank.name() == "Bank 1" {
                pending::<()>().await;
            }
            Ok(bank.name().to_owned())
        })
        .collect()
        .await;
    assert_eq!(answers.len(), 3);
    assert_eq!(&*answers[0].member, "quick");
    assert_eq!(answers[0].outcome.as_ref().unwrap(), "Bank 0");
    let mut late: Vec<_> = answers[1..]
        .iter()
        .map(|answer| answer.outcome.clone().unwrap_err().kind)
        .collect();
    late.sort_by_key(|kind| matches!(kind, ErrorKind::Timeout { .. }));
    assert_eq!(
        late,
        [
            ErrorKind::NotAsked { limit: deadline },
            ErrorKind::Timeout { limit: deadline }
        ]
    );
}

#[tokio::test]
async fn a_bank_that_takes_too_long_does_not_take_the_whole_time() {
    let (_banks, bank) = one(Manners::Closed).await;
    let each = Duration::from_millis(100);
    let aggregator = Aggregator::builder()
        .member(bank)
        .limits(AggregatorLimits {
            each,
            ..without_end()
        })
        .build();
    let mut answers = aggregator.request(|_| pending::<Result<(), Error>>());
    let answer = answers.next().await.unwrap();
    assert_eq!(
        answer.outcome.unwrap_err().kind,
        ErrorKind::Timeout { limit: each }
    );
    assert!(answers.next().await.is_none());
}

/// Asks members that only answer once `together` of them are asked at a time; says how many were at
/// most.
async fn most_at_a_time(members: Vec<Bank>, limits: AggregatorLimits, together: usize) -> usize {
    let aggregator = Aggregator::builder()
        .members(members)
        .limits(limits)
        .build();
    let barrier = Arc::new(Barrier::new(together));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let answers = aggregator.request(move |_| {
        let (barrier, now, most) = (barrier.clone(), now.clone(), most.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            barrier.wait().await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let answers: Vec<_> = answers.collect().await;
    assert!(answers.iter().all(|answer| answer.outcome.is_ok()));
    seen.load(Ordering::SeqCst)
}

#[tokio::test]
async fn no_more_are_asked_at_a_time_than_the_limits_say_and_no_fewer() {
    let banks = ManyBanks::start([Manners::Closed; 12], Duration::ZERO).await;
    let handles = handles(&banks);
    let limits = AggregatorLimits {
        at_a_time: 3,
        ..without_end()
    };
    assert_eq!(most_at_a_time(handles.clone(), limits, 3).await, 3);
    let limits = AggregatorLimits {
        per_bank: 2,
        ..without_end()
    };
    assert_eq!(
        most_at_a_time(vec![handles[0].clone(); 12], limits, 2).await,
        2
    );
    // What waits for its own bank keeps no other bank waiting.
    let limits = AggregatorLimits {
        at_a_time: 2,
        per_bank: 1,
        ..without_end()
    };
    let mut members = vec![handles[0].clone(); 6];
    members.extend(vec![handles[1].clone(); 6]);
    assert_eq!(most_at_a_time(members, limits, 2).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consents_at_one_bank_share_one_connection() {
    let (banks, bank) = one(Manners::Good).await;
    let customers =
        (0..8).map(|n| Member::new(format!("customer {n}"), bank.with_consent(format!("c{n}"))));
    let aggregator = Aggregator::builder()
        .members(customers)
        .limits(without_end())
        .build();
    let mut entries = aggregator.transactions(&since());
    let mut counted = BTreeMap::new();
    while let Some(entry) = entries.next().await {
        entry.outcome.unwrap();
        *counted.entry(entry.member).or_insert(0) += 1;
    }
    assert_eq!(counted.len(), 8);
    assert!(counted.values().all(|entries| *entries == 6), "{counted:?}");
    let bank = &banks.banks[0];
    assert_eq!(bank.requests(), 8 * 3);
    assert!(bank.most_at_a_time() <= AggregatorLimits::default().per_bank);
    assert_eq!(bank.connections(), 1);
}

#[tokio::test]
async fn dropping_the_stream_cancels_what_is_under_way() {
    let banks = ManyBanks::start([Manners::Good; 5], Duration::from_hours(1)).await;
    let aggregator = Aggregator::builder()
        .members(consents(handles(&banks)))
        .limits(without_end())
        .build();
    let mut answers = aggregator.accounts(false);
    let under_way = || {
        banks
            .banks
            .iter()
            .filter(|bank| bank.under_way() == 1)
            .count()
    };
    wait_for("five requests", || {
        assert!(answers.next().now_or_never().is_none());
        (under_way() == 5).then_some(())
    })
    .await;
    drop(answers);
    wait_for("their end", || (under_way() == 0).then_some(())).await;
}

#[tokio::test]
async fn no_bank_is_asked_before_the_stream_is_polled() {
    let (banks, bank) = one(Manners::Good).await;
    let aggregator = Aggregator::builder().member(bank.with_consent("c")).build();
    drop(aggregator.accounts(false));
    let answers: Vec<_> = aggregator.accounts(false).collect().await;
    assert_eq!(answers.len(), 1);
    assert_eq!(banks.banks[0].requests(), 1);
}

type Entries = BoxStream<'static, AccountResult<Entry<Transaction>>>;

/// Number of entries of each account, and the last item of the stream.
async fn by_account(mut entries: Entries) -> BTreeMap<String, (usize, Option<ErrorKind>)> {
    let mut read = BTreeMap::<String, (usize, Option<ErrorKind>)>::new();
    while let Some(entry) = entries.next().await {
        let id = entry.account.unwrap().resource_id.clone().unwrap();
        let (count, ended) = read.entry(id).or_default();
        assert_eq!(*ended, None, "nothing comes after the reason");
        match entry.outcome {
            Ok(_) => *count += 1,
            Err(error) => *ended = Some(error.kind),
        }
    }
    read
}

#[tokio::test]
async fn an_account_that_breaks_off_keeps_what_was_read_and_says_why() {
    let (_banks, bank) = one(Manners::BreaksOff).await;
    let aggregator = Aggregator::builder().member(bank.with_consent("c")).build();
    let read = by_account(aggregator.transactions(&since()).boxed()).await;
    assert_eq!(read["savings"], (3, None));
    let (count, ended) = &read["current"];
    assert_eq!(*count, 3);
    assert!(
        matches!(ended, Some(ErrorKind::Refused { status: 503, .. })),
        "{ended:?}"
    );
}

#[tokio::test]
async fn at_the_deadline_what_was_read_has_been_handed_over() {
    let (_banks, bank) = one(Manners::FallsSilent).await;
    // The time for connecting and three pages: more of it where the machine does much else.
    let mut outcome = None;
    for deadline in [3, 12, 48].map(Duration::from_secs) {
        let aggregator = Aggregator::builder()
            .member(bank.with_consent("c"))
            .limits(AggregatorLimits {
                deadline,
                ..without_end()
            })
            .build();
        let entries: Vec<_> = aggregator.transactions(&since()).collect().await;
        let read = entries.iter().filter(|entry| entry.outcome.is_ok()).count();
        outcome = Some((deadline, entries));
        if read == 6 {
            break;
        }
    }
    let (deadline, entries) = outcome.unwrap();
    let read = by_account(stream::iter(entries).boxed()).await;
    assert_eq!(read["savings"], (3, None));
    assert_eq!(
        read["current"],
        (3, Some(ErrorKind::Timeout { limit: deadline }))
    );
}

#[tokio::test]
async fn who_does_not_take_what_arrives_has_no_more_of_it_read() {
    let (banks, bank) = one(Manners::NeverEnds).await;
    let aggregator = Aggregator::builder()
        .member(bank.with_consent("c"))
        .limits(AggregatorLimits {
            ready: 5,
            ..without_end()
        })
        .build();
    let mut entries = aggregator.transactions(&since());
    entries.next().await.unwrap().outcome.unwrap();
    // The list of accounts, and of each account: a page that is in the way, and the page that
    // waits. Five entries and the one that was taken are two pages.
    let most = 1 + 2 + 2;
    for _ in 0..50 {
        bank.consent_status("c").await.unwrap();
    }
    assert!(
        banks.banks[0].requests() <= most + 50,
        "{}",
        banks.banks[0].requests()
    );
    for _ in 0..100 {
        entries.next().await.unwrap().outcome.unwrap();
    }
}

#[tokio::test]
async fn balances_that_came_along_are_not_asked_for_again() {
    let (banks, bank) = one(Manners::Good).await;
    let aggregator = Aggregator::builder().member(bank.with_consent("c")).build();
    let mut totals = Totals::default();
    let mut balances = aggregator.balances();
    while let Some(of_account) = balances.next().await {
        assert!(of_account.account.is_some());
        totals.add(&of_account.outcome.unwrap());
    }
    assert_eq!(
        totals.iter().next().unwrap().to_string(),
        "0.03 EUR closing booked"
    );
    assert_eq!(banks.banks[0].requests(), 1);

    let (banks, bank) = one(Manners::Terse).await;
    let aggregator = Aggregator::builder().member(bank.with_consent("c")).build();
    let balances: Vec<_> = aggregator.balances().collect().await;
    assert_eq!(balances.len(), 2);
    assert!(balances.iter().all(|of_account| of_account.outcome.is_ok()));
    assert_eq!(banks.banks[0].requests(), 3);
}

#[tokio::test]
async fn a_list_of_accounts_that_cannot_be_read_is_one_outcome() {
    let (_banks, bank) = one(Manners::Busy).await;
    let aggregator = Aggregator::builder().member(bank.with_consent("c")).build();
    let entries: Vec<_> = aggregator.transactions(&since()).collect().await;
    let [only] = entries.as_slice() else {
        panic!("{entries:?}")
    };
    assert!(only.account.is_none());
    assert_eq!(reason(only.outcome.as_ref().unwrap_err()), "429");
}

#[tokio::test]
async fn a_question_that_panics_panics_once_the_others_were_heard() {
    let banks = ManyBanks::start([Manners::Closed; 3], Duration::ZERO).await;
    let aggregator = Aggregator::builder().members(handles(&banks)).build();
    let mut answers = aggregator.request(|bank| async move {
        assert_ne!(bank.name(), "Bank 1", "the question's own fault");
        Ok(())
    });
    assert!(answers.next().await.unwrap().outcome.is_ok());
    assert!(answers.next().await.unwrap().outcome.is_ok());
    let panicked = std::panic::AssertUnwindSafe(answers.next())
        .catch_unwind()
        .await;
    assert!(panicked.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_shows_what_each_bank_answers_and_what_it_comes_to() {
    let banks = ManyBanks::start([Manners::Good, Manners::Closed, Manners::Good], LATENCY).await;
    let folder = tempfile::tempdir().unwrap();
    let own = &banks.pki.bank_a.qwac;
    let mut directory = String::new();
    for (number, bank) in banks.banks.iter().enumerate() {
        directory += &format!(
            "[[banks]]\nid = \"bank-{number}\"\nname = \"{}\"\ncountry = \"FR\"\nurl = \"https://{}\"\n\
             organisation = \"{}\"\nanchors = [\"ca1.pem\"]\n",
            bank.name, bank.address, bank.organisation
        );
    }
    for (name, text) in [
        ("banks.toml", &directory),
        ("ca1.pem", &banks.pki.ca1.root_pem().unwrap()),
        ("own.pem", &own.chain_pem),
        ("own.key", &own.key_pem),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut program = own_program("examples/many_banks");
    program.current_dir(folder.path()).args([
        "banks.toml",
        "own.pem",
        "own.key",
        "bank-0=c",
        "bank-1=c",
        "bank-2=c",
    ]);
    let output = tokio::task::spawn_blocking(move || program.output().unwrap())
        .await
        .unwrap();
    let shown = both(&output);
    assert_eq!(
        output.status.code(),
        Some(1),
        "one bank has failed: {shown}"
    );
    assert!(shown.contains("Bank 1 cannot be reached"), "{shown}");
    assert!(shown.contains("    2.01 EUR closing booked"), "{shown}");
    assert!(shown.contains("in all  4.06 EUR closing booked"), "{shown}");
}
