// Package policy is what the person wrote down beforehand, in a file that nobody else can change: which host may use which
// server, and the clients they registered with issuers. It answers questions from it and asks nobody.
package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/owned"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/quirk"
)

// Bounds of a policy.
const (
	maxFile     = 1 << 20 // bytes
	maxConsents = 1000
	maxClients  = 100
	maxScopes   = 200  // of one consent
	maxQuirks   = 20   // of one consent
	maxString   = 2048 // bytes
)

const wildcard = "*"

// File is a policy file, in JSON:
//
//	{"consents": [{"host": "exe:/usr/bin/x", "resource": "https://…", "scopes": ["a"], "without_metadata": true}],
//	 "clients":  [{"issuer": "https://…", "client_id": "…", "client_secret_file": "…"}]}
//
// A client may get its tokens by itself, with nobody at a browser: "grant_type" is "client_credentials" with a
// "client_secret_file" or a "private_key_file" (PEM, and "key_id" where the issuer wants one), or
// "urn:ietf:params:oauth:grant-type:jwt-bearer" with an "assertion_file", read anew whenever it has changed. Or the issuer
// of an enterprise speaks for it: "enterprise" is {"issuer": "https://…", "client_id": "…"}, with the client's secret or
// key there. The person signs in there by browser, unless an "id_token_file" says who they are; with it, "token_endpoint"
// says where the enterprise is asked if its metadata does not.
//
// A host is a consent key as Valet Key shows it. Written without its content hash ("exe:/home/me/bin/x"), it holds for
// whatever stands there: the person named the place and answers for it. With the hash ("exe:/home/me/bin/x#…") it holds
// for that content only. A host or a resource may be "*", scopes may be ["*"]; [] holds for a server that has no scopes.
// Several consents for one host and resource add up. A consent also lets the host ask to sign in to the server and to
// forget it. A server that names no issuer, as in MCP 2025-03-26, is used only by consents with "without_metadata": true;
// its own origin is then taken for the issuer. What is wrong with a server and accepted all the same stands in the
// consent too, under "quirks", as [quirk.Quirk] writes it: "audience=VALUE", "no-resource".
//
// The file can only allow: it is read again when it, or a file it names, has changed, and while it cannot be used it
// allows nothing. Its methods are safe for concurrent use.
type File struct {
	path string

	mu      sync.Mutex
	rules   rules
	err     error   // why there are no rules now
	sources []stamp // what rules were read from
}

// rules is a policy file that was read and found good.
type rules struct {
	consents []consentRule
	clients  []*clientRule
}

type consentRule struct {
	host, resource string
	scopes         []string
	unpublished    bool // also for a server that names no issuer
	quirks         []quirk.Quirk
}

// clientRule is a client, and the files that hold what is secret of it.
type clientRule struct {
	client.Client
	files []keptFile
}

// keptFile is a file that a client rule names.
type keptFile struct {
	field string
	path  *string
	into  *secret.Text // until the file is read, its path stands in here
	read  func(path string) (secret.Text, os.FileInfo, error)
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

// Load reads the policy file at path. It is refused unless it and every directory above it can be changed only by
// the person and the system; client secret files must besides be readable by nobody else.
func Load(path string) (*File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	p := &File{path: path}
	if _, err := p.current(); err != nil {
		return nil, err
	}
	return p, nil
}

// current returns the rules as the files say now.
func (p *File) current() (rules, error) {
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
	content, info, err := owned.Read(path, maxFile)
	if err != nil {
		return rules{}, nil, err
	}
	sources := []stamp{{path, info}}
	r, err := parse(content)
	for _, c := range r.clients {
		for _, file := range c.files {
			if !filepath.IsAbs(*file.path) {
				*file.path = filepath.Join(filepath.Dir(path), *file.path)
			}
			if *file.into, info, err = file.read(*file.path); err != nil {
				return rules{}, nil, fmt.Errorf("%s %s: %w", file.field, *file.path, err)
			}
			sources = append(sources, stamp{*file.path, info})
		}
	}
	if slices.ContainsFunc(sources, stamp.fresh) {
		sources = nil
	}
	return r, sources, err
}

// Decide answers q from the policy alone, for broker.Config.Policy. decided is false when the policy says nothing about
// q, and then the person may be asked. rule says in words what decided. A yes is for once: the next request is decided
// by the policy as it is then.
func (p *File) Decide(q face.Question) (answer face.Answer, rule string, decided bool) {
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
func (p *File) DecideAlone(q face.Question) (answer face.Answer, rule string, decided bool) {
	r, err := p.current()
	if err == nil {
		answer, err = r.allow(q)
	}
	if err != nil {
		return face.Answer{Answered: true}, err.Error(), true
	}
	return answer, "allowed by the policy file", true
}

// Settings are the quirks of the policy by which the person sets something for the server with that resource: one
// that anybody may [quirk.Set] needs no question.
func (p *File) Settings(resource string) []quirk.Quirk {
	r, err := p.current()
	if err != nil {
		return nil // and whoever wants a token is denied, with the reason
	}
	return r.settings(resource)
}

// Client finds the client that the policy names for an issuer, compared byte for byte (RFC 8414 §3.3).
func (p *File) Client(issuer string) (client.Client, bool) {
	r, _ := p.current()
	for _, c := range r.clients {
		if c.Issuer == issuer {
			return c.Client, true
		}
	}
	return client.Client{}, false
}
