// Shows /openapi.json. A token stays in this tab: through a reload, and is gone with the tab.
// A link of the form /docs#token=…&reseller=… brings one; what stands behind # is sent nowhere.
const EXAMPLE_RESELLER = "bac5m1n0d8q2r7t4v6h3";

const given = new URLSearchParams(location.hash.slice(1));
if (given.has("token")) {
  for (const name of ["token", "reseller"]) {
    sessionStorage.setItem(name, given.get(name) ?? "");
  }
  history.replaceState(null, "", location.pathname);
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const shade = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", shade);
shade();

// Notes what is typed in by the Authorize button.
const keepToken = () => ({
  statePlugins: {
    auth: {
      wrapActions: {
        authorize: (authorize) => (payload) => {
          sessionStorage.setItem("token", payload.bearer?.value ?? "");
          return authorize(payload);
        },
        logout: (logout) => (names) => {
          sessionStorage.clear();
          return logout(names);
        },
      },
    },
  },
});

async function show() {
  const text = await (await fetch("/openapi.json")).text();
  const reseller = sessionStorage.getItem("reseller");
  const ui = SwaggerUIBundle({
    spec: JSON.parse(
      /^[\w.-]+$/.test(reseller ?? "") ? text.replaceAll(EXAMPLE_RESELLER, reseller) : text,
    ),
    dom_id: "#page",
    deepLinking: true,
    displayRequestDuration: true,
    defaultModelsExpandDepth: 0,
    defaultModelExpandDepth: 3,
    persistAuthorization: false,
    plugins: [keepToken],
    // The default is a badge from another site.
    validatorUrl: null,
    onComplete: () => {
      const token = sessionStorage.getItem("token");
      if (token) ui.preauthorizeApiKey("bearer", token);
    },
  });
}

show();
