//! English texts.

use super::identity_provider::IdentityProviderTexts;
use super::other_banks::OtherBanksTexts;
use super::{Explained, Texts, Writing};

pub(crate) const ENGLISH: Texts = Texts {
    language: "en-GB",
    writing: Writing {
        thousands: ",",
        point: ".",
        months: [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ],
        short_months: [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ],
        date: "{day} {month} {year}",
        month: "{month} {year}",
        time: "{date}, {time}",
    },
    frame: FrameTexts::ENGLISH,
    log_in: LogInTexts::ENGLISH,
    second_factor: SecondFactorTexts::ENGLISH,
    identity_provider: IdentityProviderTexts::ENGLISH,
    accounts: AccountTexts::ENGLISH,
    authorise: AuthoriseTexts::ENGLISH,
    consents: ConsentTexts::ENGLISH,
    phone: PhoneTexts::ENGLISH,
    passkeys: PasskeyTexts::ENGLISH,
    other_banks: OtherBanksTexts::ENGLISH,
    problems: ProblemTexts::ENGLISH,
};

texts! {
    /// Around every page.
    FrameTexts {
        skip: "Skip to content",
        navigation: "Main navigation",
        accounts: "Accounts",
        other_banks: "Other banks",
        consents: "Access",
        passkeys: "Passkeys",
        log_out: "Log out",
        about: "{bank} online banking.",
        never_ask: "We will never ask for your password or a code by phone, e-mail or message.",
        errors: "Please correct the following",
        no_address: "Online banking is not available at the moment: the bank's proxy did not send \
            your address. Please try again later.\n",
        misdirected: "This is not the address of online banking. Go to {origin}.\n",
        to_start: "Go to your accounts",
        to_log_in: "Log in",
        to_consents: "See who has access",
        to_phone: "Back to approvals",
    }

    /// The log-in, first step.
    LogInTexts {
        title: "Log in",
        lead: "Log in to see your accounts.",
        to_approve: "A third party is requesting access to your accounts. Log in to see who it is \
            and what it is asking for. Nothing is shared until you approve.",
        customer: "Customer ID",
        customer_hint: "You will find it in your contract",
        password: "Password",
        go_on: "Continue",
        customer_missing: "Enter your customer ID",
        password_missing: "Enter your password",
        wrong: "The customer ID, the password or the code is not right. Check all three. Each \
            code works once: if you have just used it, wait for the next one.",
        wrong_with_passkey: "The customer ID, the password or the passkey is not right. Check \
            them and try again.",
        no_second_element: "No code app or passkey yet? Visit a branch or call us to set one up.",
        check_address: "Before you enter anything, check that the address in your browser starts \
            with {origin}.",
        already: "You are already logged in",
        already_lead: "You are logged in as {customer}. To use another customer ID, log out first.",
        already_go_on: "Continue",
        as_another: "Log out and continue as another customer",
    } messages {
        already_other("already-logged-in") {
            title: "You are already logged in",
            happened: "You have logged in since this page was opened, perhaps in another tab. The \
                form was not submitted.",
            to_do: "Continue to your accounts. To use another customer ID, log out first.",
        }
        logged_out("logged-out") {
            title: "You are logged out",
            happened: "Your session has ended, in all open tabs.",
            to_do: "On a shared computer, close the browser now.",
        }
        locked("locked") {
            title: "Temporarily locked",
            happened: "There were too many wrong attempts. Logging in and approving are locked \
                here until {until}, even with the right password.",
            to_do: "Try again after that. You can still use devices on which you have logged in \
                before. If these attempts were not yours, call us.",
        }
    }

    /// Second factor, on any page.
    SecondFactorTexts {
        title: "Confirm that it is you",
        code: "Code",
        code_hint: "The {digits} digits shown in your code app",
        code_missing: "Enter the code from your app",
        taken: "This code was used before. Wait until your app shows the next one. This does not \
            count as a wrong attempt.",
        no_code: "Enter the six digits shown in your app. This does not count as a wrong attempt.",
        wrong: "The code is not right. Attempts left: {left}.",
        passkey_lead: "Your device will ask for your fingerprint, your face or its PIN.",
        passkey_needs_script: "Passkeys need JavaScript, which is turned off in this browser.",
        passkey_failed: "The passkey could not be used. Try again, or use a code.",
        with_code: "Use a code instead",
        with_passkey: "Use a passkey instead",
        log_in: "Log in",
    } messages {
        none("no-second-factor") {
            title: "No code app or passkey",
            happened: "You have not set up a code app or a passkey. The law requires one for this \
                step.",
            to_do: "Visit a branch or call us to set one up.",
        }
        other_banks("asked-elsewhere") {
            title: "A code is already requested on another device",
            happened: "You have started a step on another device that is waiting for a code. You \
                cannot use a code here until that step is finished.",
            to_do: "Finish it there, or try again after {until}. If you did not start it, change \
                your password: another person knows it.",
        }
        stale("second-factor-stale") {
            title: "This page is out of date",
            happened: "The code or passkey belongs to a step that has ended. It was not used.",
            to_do: "Please start again.",
        }
        used_up("no-attempts-left") {
            title: "Too many wrong codes",
            happened: "That was the last attempt for this step. Nothing was approved or changed.",
            to_do: "Please start again. If you did not enter these codes, another person knows \
                your password: call us.",
        }
        busy("busy") {
            title: "We are very busy",
            happened: "Many customers are logging in right now, and your attempt was not \
                processed. It does not count as a wrong attempt.",
            to_do: "Try again in a few seconds.",
        }
    }

    /// The accounts and their transactions.
    AccountTexts {
        title: "Accounts",
        none: "You have no accounts with us.",
        totals: "Total",
        total: "In {currency}",
        account: "Account",
        card: "Card",
        balance: "Balance",
        booked: "Booked",
        expected: "Including pending",
        available: "Available",
        not_invoiced: "Not yet invoiced",
        not_enabled: "closed or blocked",
        no_balance: "unknown",
        owner: "Owner",
        number: "Number",
        product: "Product",
        limit: "Credit limit",
        transactions: "Transactions",
        find: "Find transactions",
        find_in: "Search for",
        find_hint: "A name or a reference",
        from: "From",
        to: "To",
        find_button: "Search",
        find_all: "Clear search",
        wrong_date: "Enter a date such as 2026-11-24",
        wrong_order: "The first date must not be after the last",
        wrong_text: "Enter at most 70 characters",
        day: "Date",
        what: "Details",
        amount: "Amount",
        pending: "Pending",
        unnamed: "Transaction",
        no_transactions: "There are no transactions in this period.",
        nothing_found: "No transactions found.",
        nothing_yet: "No transactions found back to {day}.",
        older: "Show older",
        search_on: "Search further back",
        newest: "Back to the latest",
        chart: "Balance in the last {days} days",
        chart_text: "From {first} on {from} to {last} on {to}; lowest {lowest}, highest {highest}.",
        chart_table: "Show as table",
        chart_short: "There are so many transactions that the chart starts on {from}.",
        months: "Money in and out, in {currency}",
        month: "Month",
        money_in: "In",
        money_out: "Out",
        difference: "Difference",
        partly: "{month} (incomplete)",
    } messages {
        unknown("account-unknown") {
            title: "Account not found",
            happened: "This address does not lead to one of your accounts.",
            to_do: "Choose an account from your list.",
        }
        bad_page("bad-page") {
            title: "Page not found",
            happened: "The address of this page of transactions is not valid.",
            to_do: "Choose an account from your list.",
        }
    }

    /// Approving a consent: on the pages, and on the phone.
    AuthoriseTexts {
        title: "Allow access to your accounts?",
        lead: "{name} is requesting access to your accounts at {bank}. Check what it will see, \
            then decide.",
        who: "Who is asking",
        name: "Legal name",
        number: "Authorisation number",
        authority: "Licensed by",
        checked: "Verified from its certificate and the official register.",
        which: "Accounts and data",
        choose: "Choose the accounts",
        choose_hint: "Tick the accounts you want to share.",
        choose_all: "All {count} accounts",
        of_each: "For each of these accounts it can see:",
        also: "In addition:",
        more: "Show {count} more accounts",
        masked: "For your security, only the last digits of your accounts are shown here.",
        none_chosen: "Choose at least one account",
        sees_details: "Account number, name and type",
        sees_balances: "Balances",
        sees_transactions: "Transactions, past and new: amounts, dates, payer, payee and reference",
        sees_owner: "Name of the account holder",
        cannot: "It cannot make payments and does not get your password.",
        how_long: "How often and how long",
        once: "Once, within {minutes} minutes of your approval and no later than {day}",
        often: "Whenever you use it, and up to {times} times a day without you",
        until: "Until the end of {day}",
        end_any_time: "You can end the access at any time, under “Access” in online banking. It \
            ends immediately.",
        several: "{number} account holders, including you, have to approve.",
        several_given: "{number} holders of an account have to approve, you included. {given} have \
            approved already.",
        last_approval: "The other holders of the account have approved already. Yours is the last \
            approval that is needed.",
        your_answer: "Your decision",
        approve: "Allow access",
        refuse: "Decline",
        as_customer: "You are logged in as {customer}.",
        not_you: "Not you?",
    } messages {
        approved("approved") {
            title: "Access allowed",
            happened: "{name} can now see what you have approved.",
            to_do: "You can close this page and return to {name}. You can end the access at any \
                time.",
        }
        approved_partly("approved-partly") {
            title: "You have approved",
            happened: "{name} gets access once the other account holders have approved too.",
            to_do: "You can close this page and return to {name}.",
        }
        refused("refused") {
            title: "Access declined",
            happened: "{name} gets no access.",
            to_do: "You can close this page and return to {name}.",
        }
        unknown("authorisation-unknown") {
            title: "Request not found",
            happened: "There is no such request for access, or it was deleted long ago.",
            to_do: "Return to the app or website you came from and start again.",
        }
        lapsed("authorisation-lapsed") {
            title: "This request has ended",
            happened: "It was declined, had too many wrong codes, or has timed out. Nothing was \
                approved or changed.",
            to_do: "If you still want it, return to the app or website you came from and start \
                again.",
        }
        used_up("authorisation-used-up") {
            title: "Too many wrong codes",
            happened: "That was the last attempt. The request of {name} has ended; nothing was \
                approved.",
            to_do: "If you still want it, return to {name} and start again. If you did not enter \
                these codes, another person knows your password: call us.",
        }
        finished("authorisation-finished") {
            title: "Already approved",
            happened: "You have already approved this request. Nothing was changed.",
            to_do: "You can see who has access, and end it.",
        }
        consent_over("consent-over") {
            title: "This request is no longer open",
            happened: "{name} has withdrawn it, or it has expired. Nothing was approved or \
                changed.",
            to_do: "If you still want it, return to {name} and start again.",
        }
        others("authorisation-of-another") {
            title: "This request is for another customer",
            happened: "You are logged in with a different customer ID. Nothing was approved or \
                changed.",
            to_do: "If it is meant for you, log out and log in with the right customer ID.",
        }
        approved_before("approved-before") {
            title: "Already approved",
            happened: "You have approved this request. It is waiting for the other account \
                holders.",
            to_do: "There is nothing more for you to do.",
        }
        not_the_customers("not-the-customers") {
            title: "You cannot approve this request",
            happened: "It names an account that is not yours. Nothing was approved or changed.",
            to_do: "Return to the app or website you came from and start again with your own \
                accounts.",
        }
        no_account("no-account") {
            title: "There is nothing to approve",
            happened: "The request does not match any of your accounts. Nothing was approved or \
                changed.",
            to_do: "Return to the app or website you came from.",
        }
        other_way("other-way") {
            title: "Approve this request elsewhere",
            happened: "This request is approved in our app or where you came from, not on this \
                page. Nothing was changed.",
            to_do: "Open our app, or return to the app or website you came from.",
        }
        not_finished("not-finished") {
            title: "This page is out of date",
            happened: "The request has changed since, perhaps in another tab. The form was not \
                submitted.",
            to_do: "Open the request again.",
        }
    }

    /// Consents.
    ConsentTexts {
        title: "Who has access to your accounts",
        lead: "You have allowed the following parties to see your accounts. You can end each \
            access at any time; it ends immediately.",
        now: "Current access",
        now_none: "No one has access.",
        before: "Past access",
        given: "Since",
        ended: "Ended or last changed",
        last_used: "Last used",
        never_used: "Not yet",
        accounts: "Accounts",
        until: "Expires on",
        valid: "Active",
        partly: "Waiting for other account holders",
        received: "Not approved",
        rejected: "Declined",
        expired: "Expired",
        revoked: "Ended by you",
        terminated: "Ended by the other party",
        gone_account: "an account that is no longer yours",
        end: "End access",
        end_of: "End access of {name}",
        end_title: "End access of {name}?",
        end_lead: "{name} will no longer see your accounts. It may keep what it has already read. \
            To allow access again, start again at {name}.",
        end_now: "End access now",
        keep: "Keep access",
    } messages {
        done("access-ended") {
            title: "Access ended",
            happened: "Your accounts are no longer visible to {name}.",
            to_do: "There is nothing more to do.",
        }
        not_running("no-access-to-end") {
            title: "There is no access to end",
            happened: "It has already ended, or never existed. Nothing was changed.",
            to_do: "See who has access now.",
        }
    }

    /// The page for the phone.
    PhoneTexts {
        title: "Approvals in the app",
        sandbox: "Sandbox: this page stands for the bank's app.",
        not_enrolled: "This device is not set up for approvals.",
        log_in_first: "Log in with your password and a code or passkey to set it up.",
        enrol_lead: "Once this device is set up, requests for access that you approve in our app \
            are shown here, for ninety days.",
        enrol: "Set up this device",
        confirm_lead: "You will then be able to approve requests for access on this device with \
            your password. First confirm that it is you.",
        enrol_now: "Set up",
        devices: "Devices for approvals",
        devices_none: "No device is set up.",
        since: "Set up on {time}",
        this_device: "This device",
        remove_of: "Remove the device set up on {time}",
        remove_title: "Remove the device set up on {time}?",
        remove_lead: "You will no longer be able to approve on it. You can set it up again at any \
            time.",
        of: "This device is set up for {customer}.",
        nothing: "No requests are waiting for your approval.",
        again: "Refresh",
        asks: "{name} is requesting access",
        asked_at: "Requested on {time}",
        password: "Password",
        password_hint: "Enter your online banking password to approve",
        wrong: "The password is not right",
        only_if: "Approve only if you have just started this yourself.",
        remove: "Remove this device",
    } messages {
        too_many("too-many-phones") {
            title: "Too many devices",
            happened: "You can set up ten devices for approvals. This one was not set up.",
            to_do: "Remove a device that you no longer use.",
        }
        removed_one("phone-of-yours-removed") {
            title: "Device removed",
            happened: "You can no longer approve on it.",
            to_do: "You can set it up again at any time.",
        }
        approved("phone-approved") {
            title: "Approved",
            happened: "{name} will be informed. Continue where you started.",
            to_do: "You can end the access at any time in online banking.",
        }
        refused("phone-refused") {
            title: "Declined",
            happened: "{name} gets no access.",
            to_do: "There is nothing more to do.",
        }
        removed("phone-removed") {
            title: "Device removed",
            happened: "You can no longer approve on this device.",
            to_do: "Log in to set it up again.",
        }
        over("phone-over") {
            title: "This device is not set up",
            happened: "It was removed, or its ninety days have passed. Nothing was submitted.",
            to_do: "Log in and set it up again.",
        }
    }

    /// Passkeys.
    PasskeyTexts {
        title: "Passkeys",
        lead: "With a passkey you log in and approve with the fingerprint, face or PIN of your \
            device instead of a code. A passkey does not work on fake websites.",
        none: "You have no passkeys yet.",
        name: "Name",
        name_hint: "To recognise it, for example “My phone”",
        name_default: "My device",
        added: "Added",
        last_used: "Last used",
        never_used: "Not yet",
        actions: "Actions",
        remove: "Remove",
        remove_of: "Remove the passkey {name}",
        remove_title: "Remove the passkey {name}?",
        remove_lead: "It can no longer be used to log in or approve. You can add another at any \
            time.",
        remove_now: "Remove",
        keep: "Cancel",
        add: "Add a passkey",
        add_title: "Add a passkey",
        confirm_lead: "First confirm that it is you.",
        go_on: "Continue",
        new_lead: "Give it a name. Your device will then ask for your fingerprint, your face or \
            its PIN.",
        save: "Create passkey",
    } messages {
        gone("nothing-to-remove") {
            title: "There is nothing to remove",
            happened: "It was already removed, or is not yours. Nothing was changed.",
            to_do: "See your passkeys and devices.",
        }
        done("passkey-added") {
            title: "Passkey added",
            happened: "You can now log in and approve with it.",
            to_do: "If you lose a device, remove its passkey here.",
        }
        removed("passkey-removed") {
            title: "Passkey removed",
            happened: "It can no longer be used to log in or approve.",
            to_do: "You can delete it on your device as well.",
        }
        too_many("too-many-passkeys") {
            title: "Too many passkeys",
            happened: "You can have ten passkeys. This one was not added.",
            to_do: "Remove a passkey that you no longer use.",
        }
        not_added("passkey-not-added") {
            title: "Passkey not added",
            happened: "Your device did not create it, it took too long, or you have added it \
                before. Nothing was changed.",
            to_do: "Try again.",
        }
    }

    /// Errors of any page.
    ProblemTexts {
    } messages {
        not_found("not-found") {
            title: "Page not found",
            happened: "The address is mistyped, or the page no longer exists.",
            to_do: "Go to your accounts.",
        }
        wrong_method("wrong-method") {
            title: "This page cannot be opened directly",
            happened: "The address belongs to a form. Nothing was changed.",
            to_do: "Go to your accounts.",
        }
        session_over("session-over") {
            title: "You are no longer logged in",
            happened: "You have logged out, perhaps in another tab, or your session has ended: it \
                ends after {idle} minutes without activity and after {whole} minutes in any case. \
                The form was not submitted.",
            to_do: "Log in and try again.",
        }
        foreign_form("foreign-form") {
            title: "The form was not submitted",
            happened: "It does not belong to your current session: the page is out of date, or \
                another site made the form.",
            to_do: "Open the page again and resubmit the form.",
        }
        foreign_form_before_log_in("foreign-form") {
            title: "The form was not submitted",
            happened: "Your session has ended, your browser does not accept cookies, or another \
                site made the form.",
            to_do: "Allow cookies for this site, open the log-in page again and resubmit the form.",
        }
        foreign_origin("foreign-origin") {
            title: "The form was not submitted",
            happened: "Your browser reports that another site sent this form.",
            to_do: "If you did not expect this, close the other site. Then go to your accounts.",
        }
        form_too_large("form-too-large") {
            title: "The form is too large",
            happened: "The form is larger than 64 KiB. Nothing was changed.",
            to_do: "Go back and enter less.",
        }
        form_type("form-type") {
            title: "The form could not be read",
            happened: "It was not sent by one of our pages. Nothing was changed.",
            to_do: "Open the page again and submit the form there.",
        }
        form_unreadable("form-unreadable") {
            title: "The form could not be read",
            happened: "It arrived damaged. Nothing was changed.",
            to_do: "Open the page again and submit the form there.",
        }
        form_unknown_field("form-unknown-field") {
            title: "The form could not be read",
            happened: "It has an unexpected field. Nothing was changed.",
            to_do: "Open the page again and submit the form there. If this happens again, a \
                browser extension may be changing our pages.",
        }
        form_repeated_field("form-repeated-field") {
            title: "The form could not be read",
            happened: "It has the same field twice. Nothing was changed.",
            to_do: "Open the page again and submit the form there.",
        }
        form_missing_field("form-missing-field") {
            title: "The form could not be read",
            happened: "A field is missing. Nothing was changed.",
            to_do: "Open the page again and submit the form there.",
        }
        headers_too_large("headers-too-large") {
            title: "The request is too large",
            happened: "Your browser sent too much data with the request. It was not processed.",
            to_do: "Delete the cookies of this site and try again.",
        }
        too_slow("too-slow") {
            title: "That took too long",
            happened: "We could not answer in time. Your request may or may not have been carried \
                out.",
            to_do: "Check before you try again.",
        }
        failed("failed") {
            title: "Something went wrong",
            happened: "The error is on our side, and our technicians can see it.",
            to_do: "Please try again later.",
        }
        unavailable("unavailable") {
            title: "Your accounts are not available at the moment",
            happened: "Our account systems are not responding. Your money is safe.",
            to_do: "Please try again in a few minutes.",
        }
    }
}
