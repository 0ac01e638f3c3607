package shop

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func call(t *testing.T, method, url, token, body string, answer any) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token)
	found, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Body.Close()
	if found.StatusCode != http.StatusOK || json.NewDecoder(found.Body).Decode(answer) != nil {
		t.Fatalf("%s %s: %s", method, url, found.Status)
	}
}

func TestAnInvitationIsAccepted(t *testing.T) {
	folder := t.TempDir() + "/var"
	sandbox := exec.Command("billing-server", "dev", "--var", folder, "--ports", "auto", "--until-eof")
	input, err := sandbox.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sandbox.Start(); err != nil {
		t.Fatal(err)
	}
	defer sandbox.Wait()
	defer input.Close() // it stops with its standard input
	file, err := os.ReadFile(folder + "/dev.json")
	for until := time.Now().Add(time.Minute); err != nil && time.Now().Before(until); {
		time.Sleep(50 * time.Millisecond)
		file, err = os.ReadFile(folder + "/dev.json")
	}
	var dev struct{ Rest string }
	if err := json.Unmarshal(file, &dev); err != nil {
		t.Fatal("the sandbox did not start: ", err)
	}

	var reseller struct{ ResellerID, Token string }
	call(t, "POST", dev.Rest+"/sandbox/v1/resellers", "", "{}", &reseller)
	body := `{"resellerId": "` + reseller.ResellerID + `", "name": "Horns and Hooves",
		"invitationEmail": "accept@sandbox.example", "person": {"name": "Ostap"}}`
	var nothing any
	call(t, "POST", dev.Rest+"/billing/v1/customers:invite", reseller.Token, body, &nothing)
	call(t, "POST", dev.Rest+"/sandbox/v1/clock:advance", reseller.Token, `{"duration": "1s"}`, &nothing)
	var log struct{ Events []struct{ Type string } }
	call(t, "GET", dev.Rest+"/v1/resellers/"+reseller.ResellerID+"/events", reseller.Token, "", &log)
	for _, event := range log.Events {
		if event.Type == "invitation.accepted" {
			return
		}
	}
	t.Errorf("nobody accepted: %v", log.Events)
}
