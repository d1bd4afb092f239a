package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/spf13/pflag"

	"github.com/valetkey/valetkey/localapi"
)

const (
	hostLimit   = 2 * time.Minute // for one scenario
	atOnce      = 6               // scenarios; the suite starts all of them together
	metadataURL = "https://conformance-test.local/client-metadata.json"
)

// assignment is what the suite tells a client in its environment.
type assignment struct {
	scenario string
	revision string
	context  scenarioContext
	url      string // of the server
}

// scenarioContext is what a scenario hands the client beforehand.
type scenarioContext struct {
	ClientID     string     `json:"client_id"`
	ClientSecret string     `json:"client_secret"`
	PrivateKey   string     `json:"private_key_pem"`
	Assertion    string     `json:"valid_jwt"`
	Issuer       string     `json:"issuer"`
	Enterprise   string     `json:"idp_issuer"`
	EnterpriseID string     `json:"idp_client_id"` // our client there
	IDToken      string     `json:"idp_id_token"`
	Endpoint     string     `json:"idp_token_endpoint"`
	ToolCalls    []toolCall `json:"toolCalls"`
}

type toolCall struct {
	Name      string         `json:"name"`
	Arguments map[string]any `json:"arguments"`
}

// report is how a scenario ended for the host. The suite does not pass on a client's exit code.
type report struct {
	Scenario string `json:"scenario"`
	Revision string `json:"revision"`
	Error    string `json:"error"` // "" when all went well
}

// hostRole plays one scenario: conformance host [--before] REPORTS URL.
func hostRole(ctx context.Context, args []string) error {
	flags := pflag.NewFlagSet(roleHost, pflag.ContinueOnError)
	before := flags.Bool("before", false, "be a host of before 2026-07-28")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() != 2 {
		return errors.New("usage: conformance host [--before] REPORTS URL")
	}
	a := assignment{scenario: os.Getenv("MCP_CONFORMANCE_SCENARIO"), revision: os.Getenv("MCP_CONFORMANCE_PROTOCOL_VERSION"), url: flags.Arg(1)}
	if a.scenario == "" || a.revision == "" {
		return errors.New("the suite starts this; MCP_CONFORMANCE_SCENARIO or MCP_CONFORMANCE_PROTOCOL_VERSION is missing")
	}
	if given := os.Getenv("MCP_CONFORMANCE_CONTEXT"); given != "" {
		if err := json.Unmarshal([]byte(given), &a.context); err != nil {
			return fmt.Errorf("MCP_CONFORMANCE_CONTEXT: %w", err)
		}
	}
	done, err := takeSlot(ctx, flags.Arg(0))
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, hostLimit)
	defer cancel()
	err = play(ctx, a, *before)
	r := report{Scenario: a.scenario, Revision: a.revision}
	if err != nil {
		r.Error = err.Error()
	}
	return errors.Join(err, r.write(flags.Arg(0)))
}

// takeSlot waits until fewer than atOnce scenarios run: each is four processes.
func takeSlot(ctx context.Context, dir string) (done func(), err error) {
	for n := 0; ; n++ {
		if n == atOnce {
			n = 0
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		lock := flock.New(filepath.Join(dir, fmt.Sprintf("slot-%d.lock", n)))
		if mine, err := lock.TryLock(); err != nil {
			return nil, err
		} else if mine {
			return func() { lock.Close() }, nil
		}
	}
}

func (r report) path(dir string) string {
	return filepath.Join(dir, strings.ReplaceAll(r.Scenario, "/", "_")+".json")
}

func (r report) write(dir string) error {
	content, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(r.path(dir), content, 0o600)
}

// play gives the scenario a Valet Key of its own and does what a host does.
func play(ctx context.Context, a assignment, before bool) (err error) {
	v, err := newValet(ctx, a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	h := &host{valet: v, assignment: a, before: before}
	if do, ok := scenes[a.scenario]; ok {
		return do(h, ctx)
	}
	return h.listAndCall(ctx)
}

// valet is a Valet Key with its own home, socket, memory and policy.
type valet struct {
	dir  string // short, because the path of a socket must be
	app  *exec.Cmd
	log  *os.File
	bin  string
	wait chan error
}

// newValet starts Valet Key for a and waits until it answers.
func newValet(ctx context.Context, a assignment) (_ *valet, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	v := &valet{bin: filepath.Dir(self), wait: make(chan error, 1)}
	if v.dir, err = os.MkdirTemp("", "vkc-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.close())
		}
	}()
	policy, err := v.writePolicy(ctx, a)
	if err != nil {
		return nil, err
	}
	if v.log, err = os.Create(filepath.Join(v.dir, "log")); err != nil {
		return nil, err
	}
	app := v.command("valetkey", "--headless", "--policy", policy, "--keystore", "memory", "--state-dir", filepath.Join(v.dir, "state"),
		"--client-metadata-url", metadataURL, "--browser", filepath.Join(v.bin, "vkdemo")+" browser --yes")
	app.Stdout, app.Stderr = v.log, v.log
	if err := app.Start(); err != nil {
		return nil, err
	}
	v.app = app
	go func() { v.wait <- app.Wait() }()
	return v, v.ready(ctx)
}

func (v *valet) socket() string { return filepath.Join(v.dir, "run", "agent.sock") }

// command is one of our programs with the whole environment it gets.
func (v *valet) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(v.bin, name), args...)
	cmd.Dir, cmd.Env = v.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + v.dir, "VK_SOCK=" + v.socket(), "LANG=C.UTF-8"}
	return cmd
}

// policy is what the person writes down: yes to everything, and the client they registered beforehand.
type policy struct {
	Consents []policyConsent `json:"consents"`
	Clients  []policyClient  `json:"clients"`
}

type policyConsent struct {
	Host     string   `json:"host"`
	Resource string   `json:"resource"`
	Scopes   []string `json:"scopes"`
	Without  bool     `json:"without_metadata"`
}

type policyClient struct {
	Issuer     string        `json:"issuer"`
	ClientID   string        `json:"client_id"`
	GrantType  string        `json:"grant_type,omitempty"`
	Secret     string        `json:"client_secret_file,omitempty"`
	Key        string        `json:"private_key_file,omitempty"`
	Assertion  string        `json:"assertion_file,omitempty"`
	Enterprise *policyClient `json:"enterprise,omitempty"`

	// of an enterprise
	IDToken  string `json:"id_token_file,omitempty"`
	Endpoint string `json:"token_endpoint,omitempty"`
}

// grantTypes are how the client gets its tokens where nobody sits at a browser.
var grantTypes = map[string]string{
	"auth/client-credentials-basic": "client_credentials",
	"auth/client-credentials-jwt":   "client_credentials",
	"auth/wif-jwt-bearer":           "urn:ietf:params:oauth:grant-type:jwt-bearer",
}

// writePolicy writes the policy for a, and returns where it is.
func (v *valet) writePolicy(ctx context.Context, a assignment) (string, error) {
	p := policy{Consents: []policyConsent{{"*", "*", []string{"*"}, true}}, Clients: []policyClient{}}
	if given := a.context; given.ClientID != "" {
		c := policyClient{Issuer: given.Issuer, ClientID: given.ClientID, GrantType: grantTypes[a.scenario]}
		var err error
		if c.Issuer == "" {
			if c.Issuer, err = issuerOf(ctx, a.url); err != nil {
				return "", err
			}
		}
		e := &policyClient{Issuer: given.Enterprise, ClientID: given.EnterpriseID, Endpoint: given.Endpoint}
		if e.Issuer != "" {
			c.Enterprise = e
		}
		for _, f := range []struct {
			name, content string
			path          *string
		}{
			{"client-secret", given.ClientSecret, &c.Secret}, {"key.pem", given.PrivateKey, &c.Key},
			{"assertion", given.Assertion, &c.Assertion}, {"id-token", given.IDToken, &e.IDToken},
		} {
			if f.content == "" {
				continue
			}
			*f.path = filepath.Join(v.dir, f.name)
			if err := os.WriteFile(*f.path, []byte(f.content), 0o600); err != nil {
				return "", err
			}
		}
		p.Clients = append(p.Clients, c)
	}
	content, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(v.dir, "policy.json")
	return path, os.WriteFile(path, content, 0o600)
}

// issuerOf reads what a person who has registered a client knows: with whom. Some scenarios do not say.
func issuerOf(ctx context.Context, server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	u.Path = "/.well-known/oauth-protected-resource" + u.Path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var metadata struct {
		Issuers []string `json:"authorization_servers"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&metadata); err != nil || len(metadata.Issuers) != 1 {
		return "", fmt.Errorf("%s names no issuer: %v", u, err)
	}
	return metadata.Issuers[0], nil
}

// ready waits until the app answers.
func (v *valet) ready(ctx context.Context) error {
	client := localapi.NewClient(v.socket())
	defer client.Close()
	for {
		if _, err := client.Status(ctx); err == nil {
			return nil
		}
		select {
		case err := <-v.wait:
			v.wait <- err
			said, _ := os.ReadFile(v.log.Name())
			return fmt.Errorf("valetkey ended: %v\n%s", err, said)
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("valetkey does not answer: %w", ctx.Err())
		}
	}
}

// close ends the app, shows its log, and removes everything.
func (v *valet) close() error {
	if v.app != nil {
		v.app.Process.Signal(os.Interrupt)
		select {
		case <-v.wait:
		case <-time.After(10 * time.Second):
			v.app.Process.Kill()
			<-v.wait
		}
	}
	if v.log != nil {
		said, _ := os.ReadFile(v.log.Name())
		os.Stderr.Write(said) // the suite keeps it beside the checks
		v.log.Close()
	}
	return os.RemoveAll(v.dir)
}
