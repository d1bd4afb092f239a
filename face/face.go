// Package face is what the resident process and a face (a window, a terminal) say to each other: questions and
// answers, the state to draw, and the person's wishes. It holds words, no rules.
package face

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
)

// Face is how Valet Key reaches the person. There are three: windows with the tray, a terminal, and [Nobody]. Its methods
// may be called from any goroutine.
type Face interface {
	// Name is what status calls it.
	Name() string

	// Ask puts q to the person and waits for the answer. The zero Answer means that nobody answered before the end of ctx; an
	// error, that ctx ended or the person could not be asked. One that is a *localapi.Error says so in words for a host.
	Ask(ctx context.Context, q Question) (Answer, error)

	// ShowPage tells the person to open the page of a sign-in themselves, and what to enter there; code may be "".
	ShowPage(server, page, code string)

	// Paste has the person paste the address that a browser on another computer ended on, until take has no error for it
	// or ctx ends. It returns at once where there is no place for that.
	Paste(ctx context.Context, server string, take func(address string) error)

	// Open opens the main window, or brings it to the person, and returns when it is on the screen. It fails with
	// [ErrNoWindow] where there is none.
	Open() error

	// Update gives it a newer state to draw. It does not wait until it is drawn.
	Update(State)

	// Run is called once, on the main goroutine, as macOS wants it for a tray. It ends with ctx, or earlier.
	Run(ctx context.Context)

	// Close withdraws every question and takes everything off the screen.
	Close()
}

// Names of the faces.
const (
	NameWindow   = "window"
	NameTerminal = "terminal"
	NameNobody   = "nobody"
)

// ErrNoWindow says that a face has no window to open.
var ErrNoWindow = localapi.Errorf(localapi.ErrUnavailable, "this Valet Key has no window").WithHint("vk list and vk show tell what it knows")

// Kinds of a Question.
const (
	KindConsent  = "consent"   // may Host use the grant, for these scopes?
	KindSignIn   = "sign_in"   // Host asks that the person sign in to Server
	KindForget   = "forget"    // Host asks to forget Server
	KindRegister = "register"  // Host asks to set a client ID for Issuer
	KindClientID = "client_id" // Issuer registers nobody: the person is asked for a client ID
	KindQuirk    = "quirk"     // something is not as it must be: is it accepted for this server from now on?
)

// How a person gets to the page of a sign-in.
const (
	ViaBrowser = "browser" // their browser opens at it
	ViaAddress = "address" // they are shown its address
	ViaDevice  = "device"  // they are shown an address and a code to enter there, on any device (RFC 8628)
)

// Question is what a face shows. Everything a server, an issuer or a host said of itself is already bounded and
// stripped of control and bidirectional characters.
type Question struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind"`
	Host        peer.Host `json:"host"`
	ClientName  string    `json:"client_name,omitempty"` // the host's word for itself: show it in quotes, labelled so
	Server      string    `json:"server"`                // URL as entered
	ServerName  string    `json:"server_name,omitempty"` // the server's word for itself, beside the URL only
	Resource    string    `json:"resource,omitempty"`
	Issuer      string    `json:"issuer,omitempty"`
	Issuers     []string  `json:"issuers,omitempty"`     // the person may choose among these, Issuer is proposed; none: there is no choice
	Unpublished bool      `json:"unpublished,omitempty"` // Issuer is the server's own origin, because the server names none (MCP 2025-03-26)
	Account     string    `json:"account,omitempty"`
	Scopes      []Scope   `json:"scopes,omitempty"`
	Reason      string    `json:"reason,omitempty"` // the host's own words: show them in quotes
	Why         string    `json:"why"`              // why the person is asked now, a sentence
	Notes       []string  `json:"notes,omitempty"`  // facts to weigh, sentences: "this server's metadata speaks for all of …"
	Modes       []string  `json:"modes,omitempty"`  // localapi.Mode… that may be offered, in order; never empty for KindConsent
	SignIn      bool      `json:"sign_in"`          // a yes takes the person to a page, where they sign in
	Via         string    `json:"via,omitempty"`    // then: how it does, Via…
	Vias        []string  `json:"vias,omitempty"`   // the person may choose among these, Via is proposed; none: there is no choice
	ClientID    string    `json:"client_id,omitempty"`
	Asked       time.Time `json:"asked"`
	Deadline    time.Time `json:"deadline"` // then the question is withdrawn, unanswered

	Quirk *quirk.Quirk `json:"quirk,omitempty"` // of KindQuirk; what accepting it means stands in Notes
}

// Own reports whether the person asked q themselves, in a window, or Valet Key does during a sign-in: no program is behind it.
func (q Question) Own() bool {
	return q.Host.Name == "" && q.Host.Key == "" && q.Host.Process.PID == 0
}

// QuirkTitle says what a question of KindQuirk is about, as a sentence without its end: the words before and after about,
// a URL.
func (q Question) QuirkTitle() (before, about, after string) {
	var asked quirk.Quirk
	if q.Quirk != nil {
		asked = *q.Quirk
	}
	title := asked.Title()
	if before, after, ok := strings.Cut(title, "{issuer}"); ok {
		return before, q.Issuer, after
	}
	before, after, _ = strings.Cut(title, "{server}")
	return before, q.Server, after
}

// Scope is one row of checkboxes.
type Scope struct {
	Name     string `json:"name"`               // raw, always visible
	Required bool   `json:"required,omitempty"` // the server's challenge named it: checked, cannot be unticked
	New      bool   `json:"new,omitempty"`      // not covered by an earlier yes
	Checked  bool   `json:"checked"`            // at first
}

// Answer is what the person said. The zero value means nobody answered.
type Answer struct {
	Answered     bool        `json:"answered"`
	Allow        bool        `json:"allow"`
	Mode         string      `json:"mode,omitempty"`          // of a yes to KindConsent
	Scopes       []string    `json:"scopes,omitempty"`        // the checked ones
	Issuer       string      `json:"issuer,omitempty"`        // of a yes: the chosen one of Issuers; "" is the proposed one
	Via          string      `json:"via,omitempty"`           // of a yes: the chosen one of Vias; "" is the proposed one
	WrongAccount bool        `json:"wrong_account,omitempty"` // of a no: sign in with another one
	Pause        bool        `json:"pause,omitempty"`         // of a no: quiet for this host
	ClientID     string      `json:"client_id,omitempty"`     // of a yes to KindClientID
	ClientSecret secret.Text `json:"-"`                       // the face's own codec carries it
}

// Offers says why an answer is none that q offers; nil: it is one.
func (q Question) Offers(a Answer) error {
	if !a.Answered || !a.Allow {
		return nil
	}
	switch q.Kind {
	case KindConsent:
		if !slices.Contains(q.Modes, a.Mode) {
			return fmt.Errorf("mode %q was not offered", a.Mode)
		}
	case KindClientID:
		if a.ClientID == "" {
			return errors.New("a yes without a client ID")
		}
	}
	if a.Issuer != "" && !slices.Contains(q.Issuers, a.Issuer) {
		return fmt.Errorf("issuer %q was not offered", a.Issuer)
	}
	if a.Via != "" && !slices.Contains(q.Vias, a.Via) {
		return fmt.Errorf("the way %q was not offered", a.Via)
	}
	for _, name := range a.Scopes {
		if !slices.ContainsFunc(q.Scopes, func(s Scope) bool { return s.Name == name }) {
			return fmt.Errorf("scope %q was not offered", name)
		}
	}
	for _, s := range q.Scopes {
		if s.Required && !slices.Contains(a.Scopes, s.Name) {
			return fmt.Errorf("required scope %q is missing", s.Name)
		}
	}
	return nil
}

// State is everything a window or the tray draws.
type State struct {
	Version  string           `json:"version"`
	Socket   string           `json:"socket"`
	Keychain string           `json:"keychain"`          // "ok", or what is wrong, as a sentence
	Windows  *localapi.Error  `json:"windows,omitempty"` // why none can be shown, and what to install; nil: they can, as far as is known
	Grants   []localapi.Grant `json:"grants"`
	Waiting  []Question       `json:"waiting"`
	SignIns  []SignIn         `json:"sign_ins"` // browser flows under way
	Paused   []Paused         `json:"paused"`
	Activity []Entry          `json:"activity"` // newest first, at most 200
	Programs []Program        `json:"programs"` // as WishLook found them last
	Edit     *Edit            `json:"edit,omitempty"`
}

// SignIn is a browser flow under way.
type SignIn struct {
	ID      string    `json:"id"`
	Server  string    `json:"server"`
	Issuer  string    `json:"issuer"`
	Host    string    `json:"host,omitempty"` // name of the host that wanted it; "" when the person did
	Started time.Time `json:"started"`
	URL     string    `json:"url,omitempty"`  // to copy into a browser by hand
	Code    string    `json:"code,omitempty"` // to be entered there; "" when there is none
}

// Paused is a host that is not listened to for a while.
type Paused struct {
	Host  string    `json:"host"` // consent key, or name when it has no key
	Name  string    `json:"name"`
	Until time.Time `json:"until"`
	Why   string    `json:"why"`
}

// Entry is one line of the activity log.
type Entry struct {
	Time      time.Time `json:"time"`
	Event     string    `json:"event"` // "token", "sign_in", "refresh", "consent", "revoke", "forget", …
	RequestID string    `json:"request_id,omitempty"`
	Host      string    `json:"host,omitempty"` // name
	HostKey   string    `json:"host_key,omitempty"`
	PID       int       `json:"pid,omitempty"`
	Resource  string    `json:"resource,omitempty"`
	Account   string    `json:"account,omitempty"`
	Scopes    []string  `json:"scopes,omitempty"`
	Decision  string    `json:"decision"` // "allowed", "denied", "unanswered", "done", "failed"
	Mode      string    `json:"mode,omitempty"`
	Rule      string    `json:"rule"` // which rule decided, as a sentence: why asked, why not
}

// Program is a host that is installed on this computer and keeps its servers in a file.
type Program struct {
	Key     string      `json:"key"`
	Name    string      `json:"name"`
	File    string      `json:"file"`              // shortened
	Problem string      `json:"problem,omitempty"` // why the file cannot be read
	Servers []Connected `json:"servers"`           // that it has through Valet Key
}

// Connected is a server that a program has through Valet Key.
type Connected struct {
	Name   string `json:"name"` // in the program's file
	Server string `json:"server"`
}

// Edit is the change of a program's file that the person was shown last: what will be written, was written, or cannot be.
type Edit struct {
	ID      string `json:"id"`
	Program string `json:"program"` // its key
	Server  string `json:"server"`
	Name    string `json:"name"`   // of the entry
	Remove  bool   `json:"remove"` // else it adds one
	File    string `json:"file"`
	Lines   string `json:"lines"`            // exactly what goes into the file or out of it
	Runs    string `json:"runs,omitempty"`   // the command that the program will run
	Socket  string `json:"socket,omitempty"` // or what it will connect to
	Backup  string `json:"backup,omitempty"` // where the file as it is now is kept

	Done    bool   `json:"done,omitempty"`
	Restart string `json:"restart,omitempty"` // what makes the program read its file again, a sentence

	Failed *localapi.Error `json:"failed,omitempty"` // why it cannot be made
	Block  string          `json:"block,omitempty"`  // then: what the person may put into the file; "" if nothing
}

// Pages of the main window.
const (
	PageServers  = "servers"
	PageHosts    = "hosts"
	PageWaiting  = "waiting"
	PageActivity = "activity"
)
