import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class InvitationTest {
    static Process sandbox;
    static String rest;

    @BeforeAll
    static void start() throws Exception {
        Path folder = Files.createTempDirectory("billing-");
        sandbox = new ProcessBuilder("billing-server", "dev", "--var", folder.toString(), "--ports", "auto", "--until-eof")
            .redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        Path ready = folder.resolve("dev.json");
        while (!Files.exists(ready)) {
            assertTrue(sandbox.isAlive(), "the sandbox did not start");
            Thread.sleep(50);
        }
        rest = text(Files.readString(ready), "rest");
    }

    @AfterAll
    static void stop() throws Exception {
        sandbox.getOutputStream().close(); // it stops with its standard input
        sandbox.waitFor();
    }

    @Test
    void anInvitationIsAccepted() throws Exception {
        String made = call("POST", "/sandbox/v1/resellers", "", "{}");
        String reseller = text(made, "resellerId");
        String token = text(made, "token");
        call("POST", "/billing/v1/customers:invite", token, """
            {"resellerId": "%s", "name": "Horns and Hooves",
             "invitationEmail": "accept@sandbox.example", "person": {"name": "Ostap"}}""".formatted(reseller));
        call("POST", "/sandbox/v1/clock:advance", token, "{\"duration\": \"1s\"}");
        String events = call("GET", "/v1/resellers/" + reseller + "/events", token, "");
        assertTrue(events.contains("\"invitation.accepted\""), events);
    }

    /** Returns a text of a JSON object; a program has a library for this. */
    static String text(String json, String name) {
        var found = Pattern.compile("\"" + name + "\":\\s*\"([^\"]*)\"").matcher(json);
        assertTrue(found.find(), json);
        return found.group(1);
    }

    static String call(String method, String path, String token, String body) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(rest + path)).method(method, BodyPublishers.ofString(body))
            .header("Content-Type", "application/json").header("Authorization", "Bearer " + token).build();
        var answer = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
        assertEquals(200, answer.statusCode(), answer.body());
        return answer.body();
    }
}
