// Shows /openapi.json. A token that is typed in stays in this tab and is gone with it.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  defaultModelExpandDepth: 3,
  persistAuthorization: false,
  // The default is a badge from another site.
  validatorUrl: null,
});
