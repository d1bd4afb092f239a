package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"fyne.io/fyne/v2"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

// Kinds of a clientForm, in the order of the window.
const (
	byBrowser = iota
	byItself
	byIdentityFile
	byEnterprise
)

var clientKinds = [...]struct{ words, more string }{
	byBrowser:      {"You sign in with it by browser", "as you do without a client ID of your own"},
	byItself:       {"It gets tokens by itself", "with its secret or a private key; nobody signs in (client_credentials)"},
	byIdentityFile: {"It gets tokens with the identity of this workload", "which your platform writes to a file and keeps fresh (jwt-bearer)"},
	byEnterprise:   {"Your enterprise speaks for you", "you sign in there, and it decides what you may do here (Enterprise-Managed Authorization)"},
}

// clientForm is what the person types of a client that they have at a server's issuer.
type clientForm struct {
	kind int

	id, secret, keyFile, keyID, assertionFile  *field
	enterprise, enterpriseID, enterpriseSecret *field
}

func newClientForm(key string) *clientForm {
	named := func(name, hint string, hidden bool) *field { return newField("client-"+name+"\n"+key, hint, hidden) }
	return &clientForm{
		id: named("id", "as the issuer's own page shows it", false), secret: named("secret", "if the issuer gave you one", true),
		keyFile: named("key-file", "/home/ann/key.pem, in place of a secret", false), keyID: named("key-id", "if the issuer wants one", false),
		assertionFile: named("assertion-file", "/var/run/secrets/tokens/identity", false),
		enterprise:    named("enterprise", "https://login.example.com", false),
		enterpriseID:  named("enterprise-id", "another one, registered there", false), enterpriseSecret: named("enterprise-secret", "if it has one", true),
	}
}

// labelled is one line of a form.
type labelled struct {
	label string
	field *field
}

// rows are the fields that f's kind has.
func (f *clientForm) rows() []labelled {
	rows := []labelled{{"Client ID", f.id}, {"Client secret", f.secret}}
	switch f.kind {
	case byItself:
		rows = append(rows, labelled{"or private key file", f.keyFile}, labelled{"Key ID", f.keyID})
	case byIdentityFile:
		rows = append(rows, labelled{"Identity file", f.assertionFile})
	case byEnterprise:
		rows = append(rows, labelled{"Enterprise's issuer", f.enterprise}, labelled{"Client ID there", f.enterpriseID}, labelled{"Client secret there", f.enterpriseSecret})
	}
	return rows
}

// missing says of what the person typed what is missing from it.
var missing = map[client.Kind]string{
	client.NoClientID:    "Type the client ID first.",
	client.TwoWays:       "A client has a secret or a key, not both.",
	client.NoSecret:      "Type the client's secret, or name the file of its private key.",
	client.NoAssertion:   "Name the identity file by its whole path.",
	client.RelativeFile:  "Name the identity file by its whole path.",
	client.NoIssuer:      missingEnterprise,
	client.NoClientThere: missingEnterprise,
}

const missingEnterprise = "Name your enterprise's issuer, and the client ID that Valet Key has there."

// client is the one that was typed, or what is missing from it.
func (f *clientForm) client() (client.Client, error) {
	typed := func(f *field) string { return strings.TrimSpace(f.Text) }
	hidden := func(f *field) secret.Text { return secret.New(typed(f)) }
	c := client.Client{ClientID: typed(f.id), Secret: hidden(f.secret)}
	switch f.kind {
	case byItself:
		c.GrantType, c.Key, c.KeyID = client.GrantClientCredentials, hidden(f.keyFile), typed(f.keyID)
	case byIdentityFile:
		c.GrantType, c.AssertionFile = client.GrantJWTBearer, atHome(typed(f.assertionFile))
	case byEnterprise:
		there := client.Client{Issuer: typed(f.enterprise), ClientID: typed(f.enterpriseID), Secret: hidden(f.enterpriseSecret)}
		c.GrantType, c.Enterprise = client.GrantJWTBearer, &client.Enterprise{Client: there}
	}
	err := c.Check() // of the key, with the name of its file
	if fault, ok := errors.AsType[*client.Fault](err); ok && missing[fault.Kind] != "" {
		return c, localapi.Errorf(localapi.ErrBadRequest, "%s", missing[fault.Kind])
	}
	if err == nil && !c.Key.Empty() {
		if c.Key, err = readKey(typed(f.keyFile)); err != nil {
			return c, localapi.Errorf(localapi.ErrBadRequest, "The private key cannot be read: %v.", err)
		}
	}
	return c, localapi.BadClient(err)
}

// readKey reads the private key in the file at path. No error quotes any of it, or names the path that was typed.
func readKey(path string) (secret.Text, error) {
	if path = atHome(path); !filepath.IsAbs(path) {
		return secret.Text{}, errors.New("name it by its whole path")
	}
	key, _, err := client.ReadKey(path)
	if wrong := (*fs.PathError)(nil); errors.As(err, &wrong) {
		err = wrong.Err
	}
	return key, err
}

// atHome is path with the person's home for a leading ~.
func atHome(path string) string {
	rest, ok := strings.CutPrefix(path, "~"+string(filepath.Separator))
	if home, err := os.UserHomeDir(); ok && err == nil {
		return filepath.Join(home, rest)
	}
	return path
}

// clientForm draws the form under key, nil when it is not open.
func (v *mainDrawing) clientForm(key string) fyne.CanvasObject {
	f := v.forms[key]
	if f == nil {
		return nil
	}
	kinds := vbox(0)
	for i, kind := range clientKinds {
		t := newTick("client-kind-"+fmt.Sprint(i)+"\n"+key, f.kind == i, vbox(1, text(plain(kind.words)), text(small(kind.more))), func() {
			f.kind = i
			v.on.redraw()
		})
		t.round = true
		kinds.Add(t)
	}
	fields := vbox(6)
	for _, r := range f.rows() {
		fields.Add(beside(10, 1, over(fixed(132, 1), pad(8, 0, 0, 0, text(muted(r.label)))), r.field))
	}
	return vbox(8, kinds, fields)
}

// client is who Valet Key is for g's issuer, and where the person changes that.
func (v *mainDrawing) client(g localapi.Grant) fyne.CanvasObject {
	key := "client\n" + grantKey(g)
	form := v.clientForm(key)
	if form == nil {
		id, words := text(muted("not known")), ""
		buttons := hbox(0, -1)
		if r := g.Registration; r != nil {
			id, words = text(mono(r.ClientID)), r.Meaning()
			if r.Source == client.SourcePreRegistered {
				buttons.Add(v.act("remove-"+key, "Remove", "Removing…", quiet, face.WishClient{Server: g.Server, Account: g.Account,
					Registration: localapi.RegistrationRequest{Sent: client.Sent{Issuer: g.Issuer}, Remove: true}}))
			}
		}
		buttons.Add(newButton(key+"\nask", "Change", quiet, func() { v.on.form(key) }))
		values := []fyne.CanvasObject{beside(8, 0, pad(7, 0, 0, 0, id), buttons)}
		if words != "" {
			values = append(values, text(small(words)))
		}
		if p := v.problem("remove-" + key); p != nil {
			values = append(values, p)
		}
		return lowered("Client", values...)
	}
	set := newButton(key, "Set and sign in", primary, func() { v.on.setClient(key, g) })
	if v.busy[key] {
		set.text = "Signing in…"
		set.Disable()
	}
	rows := vbox(8, text(plain("The client ID that you got from "), strong(hostOf(g.Issuer)), plain(", and how tokens are had with it:")), form,
		hbox(4, 0, fixed(1, 1), newButton(key+"\nno", "Cancel", ordinary, func() { v.on.form(key) }), set))
	if p := v.problem(key); p != nil {
		rows.Add(p)
	}
	return lowered("Client", pad(7, 0, 0, 0, rows))
}
