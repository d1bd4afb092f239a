package terminal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
)

// Bounds of a policy.
const (
	maxPolicy       = 1 << 20 // bytes
	maxSecretFile   = 4096    // bytes
	maxConsents     = 1000
	maxClients      = 100
	maxScopes       = 200  // of one consent
	maxPolicyString = 2048 // bytes
)

const wildcard = "*"

// Policy is what the person wrote down beforehand, in a JSON file:
//
//	{"consents": [{"host": "exe:/usr/bin/x", "resource": "https://…", "scopes": ["a"]}],
//	 "clients":  [{"issuer": "https://…", "client_id": "…", "client_secret_file": "…"}]}
//
// A host is a consent key as Valet Key shows it. Written without its content hash ("exe:/home/me/bin/x"), it holds for
// whatever stands there: the person named the place and answers for it. With the hash ("exe:/home/me/bin/x#…") it holds
// for that content only. A host or a resource may be "*", scopes may be ["*"]; [] holds for a server that has no scopes.
// Several consents for one host and resource add up. A consent also lets the host ask to sign in to the server and to
// forget it.
//
// The file can only allow: it is read again when it, or a file it names, has changed, and while it cannot be used it
// allows nothing. Its methods are safe for concurrent use.
type Policy struct {
	path string

	mu      sync.Mutex
	rules   rules
	err     error   // why there are no rules now
	sources []stamp // what rules were read from
}

// PolicyClient is a client that the person registered with an issuer beforehand.
type PolicyClient struct {
	Issuer   string
	ClientID string
	Secret   secret.Text // empty: a public client
}

// rules is a policy file that was read and found good.
type rules struct {
	consents []consentRule
	clients  []clientRule
}

type consentRule struct {
	host, resource string
	scopes         []string
}

type clientRule struct {
	PolicyClient
	secretFile string
}

// stamp tells whether a file is still the one that was read.
type stamp struct {
	path string
	info os.FileInfo
}

func (s stamp) holds() bool {
	now, err := os.Stat(s.path)
	return err == nil && os.SameFile(now, s.info) && now.ModTime().Equal(s.info.ModTime()) && now.Size() == s.info.Size() && now.Mode() == s.info.Mode()
}

// fresh reports whether the file may change once more without its marks changing: file systems' clocks are coarse.
func (s stamp) fresh() bool { return time.Since(s.info.ModTime()) < 100*time.Millisecond }

// LoadPolicy reads the policy file at path. It is refused unless it and every directory above it can be changed only by
// the person and the system; client secret files must besides be readable by nobody else.
func LoadPolicy(path string) (*Policy, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	p := &Policy{path: path}
	if _, err := p.current(); err != nil {
		return nil, err
	}
	return p, nil
}

// current returns the rules as the files say now.
func (p *Policy) current() (rules, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sources == nil || slices.ContainsFunc(p.sources, func(s stamp) bool { return !s.holds() }) {
		p.rules, p.sources, p.err = read(p.path)
	}
	if p.err != nil {
		return rules{}, fmt.Errorf("policy file %s: %w", p.path, p.err)
	}
	return p.rules, nil
}

// read reads the policy and the secrets it names. sources is nil when they must be read again at the next question.
func read(path string) (rules, []stamp, error) {
	content, info, err := readOwn(path, maxPolicy, false)
	if err != nil {
		return rules{}, nil, err
	}
	sources := []stamp{{path, info}}
	r, err := parsePolicy(content)
	for i := range r.clients {
		c := &r.clients[i]
		if err != nil || c.secretFile == "" {
			continue
		}
		if !filepath.IsAbs(c.secretFile) {
			c.secretFile = filepath.Join(filepath.Dir(path), c.secretFile)
		}
		if c.Secret, info, err = readSecret(c.secretFile); err != nil {
			return rules{}, nil, fmt.Errorf("client_secret_file %s: %w", c.secretFile, err)
		}
		sources = append(sources, stamp{c.secretFile, info})
	}
	if slices.ContainsFunc(sources, stamp.fresh) {
		sources = nil
	}
	return r, sources, err
}

func readSecret(path string) (secret.Text, os.FileInfo, error) {
	content, info, err := readOwn(path, maxSecretFile, true)
	if err != nil {
		return secret.Text{}, nil, err
	}
	s := strings.TrimRight(string(content), "\r\n")
	if s == "" || !clientText(s) {
		return secret.Text{}, nil, errors.New("it must hold the secret alone, on one line of printable ASCII")
	}
	return secret.New(s), info, nil
}

// readOwn reads a file that nobody but the person and the system can change and, when private, read.
func readOwn(path string, limit int64, private bool) ([]byte, os.FileInfo, error) {
	f, err := openOwn(path, private)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("it is longer than %d bytes", limit)
	}
	return content, info, err
}

// Decide answers q from the policy alone, for broker.Config.Policy. decided is false when the policy says nothing about
// q, and then the person may be asked. rule says in words what decided. A yes is for once: the next request is decided
// by the policy as it is then.
func (p *Policy) Decide(q face.Question) (answer face.Answer, rule string, decided bool) {
	r, err := p.current()
	if err != nil {
		return face.Answer{Answered: true}, err.Error(), true
	}
	answer, err = r.allow(q)
	if err != nil {
		return face.Answer{}, "", false
	}
	return answer, "allowed by the policy file", true
}

// DecideAlone is Decide where nobody else can be asked: what the policy does not allow is denied, and rule says what is
// missing from it.
func (p *Policy) DecideAlone(q face.Question) (answer face.Answer, rule string, decided bool) {
	r, err := p.current()
	if err == nil {
		answer, err = r.allow(q)
	}
	if err != nil {
		return face.Answer{Answered: true}, err.Error(), true
	}
	return answer, "allowed by the policy file", true
}

// Client finds the client that the policy names for an issuer, compared byte for byte (RFC 8414 §3.3).
func (p *Policy) Client(issuer string) (PolicyClient, bool) {
	r, err := p.current()
	if err != nil {
		return PolicyClient{}, false
	}
	i := slices.IndexFunc(r.clients, func(c clientRule) bool { return c.Issuer == issuer })
	if i < 0 {
		return PolicyClient{}, false
	}
	return r.clients[i].PolicyClient, true
}
