package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

func clientFlags(f *pflag.FlagSet, o *options) {
	f.StringVar(&o.clientID, "client-id", "", "the client `ID`")
	f.BoolVar(&o.secretStdin, "secret-stdin", false, "read the client secret from standard input")
	f.BoolVar(&o.keyStdin, "key-stdin", false, "read a private key (PEM) from standard input, in place of a secret")
	f.StringVar(&o.keyID, "key-id", "", "the key's `ID` at the issuer, where it wants one")
	f.StringVar(&o.grantType, "grant-type", "", "the `TYPE` client_credentials: the client gets tokens by itself")
	f.StringVar(&o.assertionFile, "assertion-file", "", "a `FILE` in which your platform says who this workload is; it is read for each token")
	f.StringVar(&o.enterprise, "enterprise", "", "the `ISSUER` of your enterprise, where you sign in and which speaks for you")
	f.StringVar(&o.enterpriseID, "enterprise-client-id", "", "the client `ID` there")
	f.BoolVar(&o.enterpriseSecretStdin, "enterprise-secret-stdin", false, "read the client secret there from standard input, on the line after the other one")
	f.BoolVar(&o.enterpriseKeyStdin, "enterprise-key-stdin", false, "read a private key (PEM) from standard input, in place of it")
	f.StringVar(&o.enterpriseKeyID, "enterprise-key-id", "", "that key's `ID`")
	f.StringVar(&o.issuer, "issuer", "", "the `ISSUER` it belongs to, if not the server's own")
	f.BoolVar(&o.remove, "remove", false, "remove the client ID that was set")
}

func (p *program) register(ctx context.Context, o *options, args []string) error {
	req := localapi.RegistrationRequest{Issuer: o.issuer, ClientID: o.clientID, GrantType: o.grantType, KeyID: o.keyID, Remove: o.remove}
	if err := o.completeRegistration(&req); err != nil {
		return err
	}
	if err := p.readRegistration(ctx, o, &req); err != nil {
		return err
	}
	var err error
	if req.Resource, err = p.server(ctx, args[0]); err != nil {
		return err
	}
	done, err := askPerson(p, ctx, func(c *localapi.Client, ctx context.Context) (*localapi.Registered, error) {
		return c.Register(ctx, req)
	})
	if err != nil {
		return err
	}
	if o.remove {
		return p.print(fmt.Sprintf("the client ID for %s is removed\n", clean(done.Issuer)))
	}
	return p.print(fmt.Sprintf("client ID %s is set for %s\n", clean(done.ClientID), clean(done.Issuer)))
}

// completeRegistration puts into req what the flags say of assertion and enterprise, and looks whether they go together.
func (o *options) completeRegistration(req *localapi.RegistrationRequest) error {
	there := o.enterpriseID != "" || o.enterpriseSecretStdin || o.enterpriseKeyStdin || o.enterpriseKeyID != ""
	switch {
	case o.remove && (o.clientID != "" || o.grantType != "" || o.assertionFile != "" || o.enterprise != "" || o.secretStdin || o.keyStdin):
		return usage("client", "--remove takes no other flag but --issuer")
	case !o.remove && o.clientID == "":
		return usage("client", "vk client needs --client-id")
	case o.enterprise == "" && there:
		return usage("client", "which enterprise? name its issuer with --enterprise")
	case o.enterprise != "" && o.enterpriseID == "":
		return usage("client", "--enterprise needs --enterprise-client-id")
	case o.enterprise != "" && (o.grantType != "" || o.assertionFile != ""):
		return usage("client", "--enterprise goes with neither --grant-type nor --assertion-file")
	case o.grantType != "" && o.assertionFile != "":
		return usage("client", "--assertion-file goes without --grant-type")
	}
	if o.enterprise != "" {
		req.Enterprise = &localapi.EnterpriseClient{Issuer: o.enterprise, ClientID: o.enterpriseID, KeyID: o.enterpriseKeyID}
	}
	var err error
	if o.assertionFile != "" {
		req.AssertionFile, err = filepath.Abs(o.assertionFile)
	}
	return err
}

// readRegistration reads what the flags say that standard input holds into req.
func (p *program) readRegistration(ctx context.Context, o *options, req *localapi.RegistrationRequest) error {
	e := req.Enterprise
	if e == nil {
		e = &localapi.EnterpriseClient{}
	}
	var what []string
	var into []*secret.Text
	for _, s := range []struct {
		wanted, key bool
		name        string
		into        *secret.Text
	}{
		{o.secretStdin, false, "client secret", &req.ClientSecret},
		{o.keyStdin, true, "private key", &req.PrivateKey},
		{o.enterpriseSecretStdin, false, "client secret at the enterprise", &e.ClientSecret},
		{o.enterpriseKeyStdin, true, "private key for the enterprise", &e.PrivateKey},
	} {
		if s.wanted && s.key && isTerminal(p.stdin) {
			return usage("client", "a key is more than one line: give its file, as in vk client … --key-stdin < key.pem")
		}
		if s.wanted {
			what, into = append(what, s.name), append(into, s.into)
		}
	}
	if len(what) > 1 && (o.keyStdin || o.enterpriseKeyStdin) {
		return usage("client", "standard input holds one key and nothing else")
	}
	secrets, err := readSecrets(ctx, p.stdin, p.stderr, what...)
	for i, s := range secrets {
		*into[i] = s
	}
	return err
}
