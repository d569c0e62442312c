// Script for passkeys: requests one from the browser, puts the response into the form, submits it.
"use strict";

(() => {
  const form = document.querySelector("form[data-passkey]");
  if (!form) return;
  const button = form.querySelector("[data-passkey-button]");
  const failed = form.querySelector("[data-failed]");
  if (!window.PublicKeyCredential) return;
  button.hidden = false;
  form.querySelector("[data-no-script]").hidden = true;

  const bytes = (text) => {
    const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
  };
  const text = (buffer) => {
    const binary = String.fromCharCode(...new Uint8Array(buffer));
    return btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };
  const decoded = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

  const create = async (options) => {
    options.challenge = bytes(options.challenge);
    options.user.id = bytes(options.user.id);
    options.excludeCredentials = decoded(options.excludeCredentials);
    const credential = await navigator.credentials.create({ publicKey: options });
    return {
      attestationObject: text(credential.response.attestationObject),
      clientDataJSON: text(credential.response.clientDataJSON),
      credential,
    };
  };
  const get = async (options) => {
    options.challenge = bytes(options.challenge);
    options.allowCredentials = decoded(options.allowCredentials);
    const credential = await navigator.credentials.get({ publicKey: options });
    const { authenticatorData, clientDataJSON, signature, userHandle } = credential.response;
    return {
      authenticatorData: text(authenticatorData),
      clientDataJSON: text(clientDataJSON),
      signature: text(signature),
      userHandle: userHandle ? text(userHandle) : null,
      credential,
    };
  };

  let isComplete = false;
  form.addEventListener("submit", async (event) => {
    if (isComplete || event.submitter !== button) return;
    event.preventDefault();
    button.disabled = true;
    failed.hidden = true;
    try {
      const options = JSON.parse(form.dataset.passkey).publicKey;
      const request = form.dataset.act === "make" ? create : get;
      const { credential, ...response } = await request(options);
      const answer = {
        id: credential.id,
        rawId: text(credential.rawId),
        type: credential.type,
        extensions: {},
        response,
      };
      form.elements.answer.value = JSON.stringify(answer);
      isComplete = true;
      button.disabled = false;
      form.requestSubmit(button);
    } catch (error) {
      button.disabled = false;
      failed.hidden = false;
    }
  });
})();
