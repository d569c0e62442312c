//! English texts for accounts at other banks.

use super::Explained;

texts! {
    /// The accounts at other banks. `{bank}` is our own, `{other}` the other one.
    OtherBanksTexts {
        title: "All your accounts",
        none: "See your accounts at other banks here as well, next to those at {bank}. You decide \
            at each bank what we may see, and can end it at any time.",
        none_configured: "There are no other banks to connect yet.",
        connect: "Connect another bank",
        refresh: "Refresh",
        own: "Updated just now",
        no_accounts: "No accounts.",
        without: "Accounts at {other} are not included: they have not been read yet.",
        age_now: "Updated just now",
        age_minutes: "Updated {count} minutes ago",
        age_hours: "Updated {count} hours ago",
        age_days: "Updated {count} days ago",
        age_never: "Not updated yet",
        until: "Access expires on {date}",
        down: "We cannot reach {other} at the moment.",
        slow: "{other} is not responding in time at the moment.",
        not_trusted: "We cannot set up a secure connection to {other} at the moment. We are \
            working on it.",
        too_often: "{other} allows no more updates today.",
        faulty: "{other} is not responding properly at the moment.",
        as_of_before: "{age}.",
        partial: "Some data of {other} could not be read. It is missing or out of date here.",
        revoked: "You have withdrawn our access to your accounts at {other}.",
        expired: "Our access to your accounts at {other} has expired.",
        replaced: "Our access to your accounts at {other} has ended.",
        gone: "{other} no longer accepts our access to your accounts.",
        deleted: "We have deleted your data from there.",
        connect_again: "Connect again",
        forget: "Hide",
        renewal: "Our access to your accounts at {other} expires in {days} days. You can renew it \
            now; it stays active until you have.",
        renewal_today: "Our access to your accounts at {other} expires today. You can renew it \
            now.",
        renewal_button: "Renew access to {other}",
        not_returned: "You started to connect {other} but have not returned from there. Try \
            again: a new request replaces the first, even if you have approved it.",
        not_confirmed: "You started to connect {other}, but we have no approval from there yet. \
            If it is approved there, check again.",
        check: "Check again",
        disconnect: "Disconnect {other}",
        transactions: "Transactions at all banks",
        newest: "The latest {count} of the last 90 days.",
        no_transactions: "There are no transactions in the last 90 days.",
        pick: "Connect another bank",
        pick_lead: "Where do you hold the accounts that you want to see here?",
        connected: "Connected",
        explain: "Connect {other}",
        explain_lead: "How it works:",
        step_there: "You go to {other} and log in there as usual. We never see your password for \
            {other}.",
        step_approve: "{other} shows you what we are asking for. You allow it or decline.",
        step_back: "You return here.",
        what: "What we ask {other} to show us",
        what_accounts: "your accounts and cards there",
        what_balances: "their balances",
        what_transactions: "their transactions",
        what_not: "We cannot make payments or change anything there.",
        how_long: "Until {date} at the latest, and up to {count} times a day while you are not \
            logged in here. You can end it at any time, here or at {other}.",
        keeps_running: "{other} is already connected. The current access stays active until you \
            have approved the new one.",
        ask: "Continue",
        go: "Continue to {other}",
        go_lead: "{other} has received our request. Allow it there or decline; {other} then \
            returns you here.",
        go_check: "Before you enter anything there, check that the address in your browser starts \
            with {address}.",
        go_button: "Go to {other}",
        cancel: "Cancel",
        see_all: "See all accounts",
        try_again: "Try again",
        end: "Disconnect {other}",
        end_lead: "We end our access to your accounts at {other} and delete your data from there. \
            Your accounts at {other} are not affected, and you can connect them again at any time.",
        end_button: "Disconnect",
    } messages {
        came_connected("other-banks-connected") {
            title: "{other} is connected",
            happened: "Your accounts at {other} are now shown here.",
            to_do: "You can end it at any time, here or at {other}.",
        }
        came_refused("other-banks-refused") {
            title: "{other} is not connected",
            happened: "Access was declined at {other}. We do not see your accounts there.",
            to_do: "If that was a mistake, start again.",
        }
        came_ended("other-banks-too-late") {
            title: "{other} is not connected",
            happened: "The request at {other} has expired or was withdrawn. We do not see your \
                accounts there.",
            to_do: "Please start again.",
        }
        came_waiting("other-banks-waiting") {
            title: "{other} is not connected yet",
            happened: "{other} reports that the request is not approved yet. You may have left \
                early, or another account holder has to approve it too.",
            to_do: "Once it is approved, check again. Otherwise try again.",
        }
        came_unclear("other-banks-unclear") {
            title: "{other} is not responding",
            happened: "We do not know yet whether you have approved: {other} is not responding at \
                the moment.",
            to_do: "Check again in a few minutes. Nothing is lost.",
        }
        came_unknown("other-banks-unknown-return") {
            title: "This link is not valid",
            happened: "You have not started this connection, or you have started it again since. \
                Nothing was changed.",
            to_do: "To connect a bank, start here.",
        }
        came_again("other-banks-returned-before") {
            title: "You have already returned",
            happened: "Your return from the other bank was already processed. Nothing was changed.",
            to_do: "See your accounts.",
        }
        not_asked("other-banks-not-asked") {
            title: "{other} could not be connected",
            happened: "{trouble} Nothing was requested or changed.",
            to_do: "Please try again later.",
        }
        no_pages("other-banks-no-pages") {
            title: "{other} cannot be connected",
            happened: "{other} has no pages of its own for your approval, and we never ask for \
                another bank's password. Nothing was changed.",
            to_do: "Ask {other} when this will be possible.",
        }
        overtaken("other-banks-overtaken") {
            title: "You have started again",
            happened: "You have started to connect {other} again, perhaps in another tab. This \
                request was cancelled.",
            to_do: "Continue in the other tab, or start again.",
        }
        no_such_bank("other-banks-no-such-bank") {
            title: "Bank not found",
            happened: "This bank cannot be connected here.",
            to_do: "Choose a bank from the list.",
        }
        no_such_connection("other-banks-no-such-connection") {
            title: "This page is out of date",
            happened: "You have finished, renewed or ended this connection since, perhaps in \
                another tab. Nothing was changed.",
            to_do: "See your accounts.",
        }
        ended("other-banks-disconnected") {
            title: "{other} is disconnected",
            happened: "Our access has ended, {other} is informed, and your data from there is \
                deleted.",
            to_do: "You can connect it again at any time.",
        }
        ended_untold("other-banks-disconnected-untold") {
            title: "{other} is disconnected",
            happened: "Your data from there is deleted and we will not read any more. We could not \
                inform {other}: it is not responding at the moment.",
            to_do: "To be sure, withdraw our access at {other} too.",
        }
    }
}
