//! First call: the accounts of the sandbox's customer Clara at Bank B. `docs/sdk.md` shows it as a
//! program of its own.
//!
//! ```text
//! . /tmp/sandbox/env.sh
//! first_call
//! ```

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "this program is for people at a terminal"
)]

use bank_client::credentials::Credentials;
use bank_client::directory::Directory;
use bank_client::tokio;

#[tokio::main(crate = "bank_client::tokio")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::var("DIR")?;
    let own = Credentials::from_pem(
        &std::fs::read(format!("{dir}/pki/bank-a/qwac.pem"))?,
        &std::fs::read(format!("{dir}/pki/bank-a/qwac.key"))?,
    )?;
    let directory = Directory::read(format!("{dir}/banks.toml"))?;
    let entry = directory.get(&"bank-b".parse()?).ok_or("no bank-b")?;
    let bank = entry.bank(&own)?.build()?;

    let clara = bank.with_consent(std::env::var("CONSENT")?);
    for account in clara.accounts(true).await? {
        let iban = account.iban.map(|iban| iban.to_string());
        println!("{}", iban.unwrap_or_default());
        for balance in account.balances.unwrap_or_default() {
            println!("  {}", balance.balance_amount);
        }
    }
    Ok(())
}
