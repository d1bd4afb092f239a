package broker

import (
	"context"
	"fmt"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/oauthflow"
)

// findEnterprise finds out where the enterprise of request's registration is asked, if it has one. The person named it,
// so it is reached as a server that they entered, and no server has a say in where it is.
func (b *Broker) findEnterprise(ctx context.Context, request *oauthflow.Request) error {
	id := ledger.EnterpriseOf(request.Registration).Issuer
	if id == "" {
		return nil
	}
	if endpoint := request.Registration.Enterprise.TokenEndpoint; endpoint != "" {
		request.Enterprise = &discovery.Issuer{ID: id, TokenEndpoint: endpoint}
		return nil
	}
	var err error
	if request.Enterprise, err = b.cfg.Discovery.Issuer(ctx, id, id); err != nil {
		return fmt.Errorf("find the enterprise's issuer: %w", err)
	}
	return nil
}

// unattendedNotes are what the person is told before r gets tokens from issuer with nobody at a browser: one note at least,
// none of a client that they sign in with.
func unattendedNotes(r client.Client, issuer *discovery.Issuer) []string {
	if !r.Unattended() {
		return nil
	}
	if r.GrantType == client.GrantClientCredentials {
		return []string{"This client gets tokens by itself (" + r.GrantType + "): nobody signs in, and what it may do was decided at the issuer."}
	}
	notes := []string{"This client gets tokens by itself: for each one, Valet Key sends " + issuer.ID + " what the file " + r.AssertionFile + " says of who this computer or workload is."}
	if enterprise := ledger.EnterpriseOf(r).Issuer; enterprise != "" {
		notes[0] = "Your enterprise at " + enterprise + " speaks for you, and decides what you may do here."
	}
	if !issuer.TakesAssertions() {
		notes = append(notes, "This issuer does not say that it gives tokens for that ("+client.GrantJWTBearer+"). It is tried, because you set it so.")
	}
	return notes
}

// enterpriseHint says what can be done about an enterprise's no. There is no page to fall back on (EMA §7.2).
func enterpriseHint(refused *oauthflow.Error) string {
	switch refused.Code {
	case "invalid_grant", "insufficient_user_authentication":
		return "your enterprise does not take the ID token, which may have run out: try again to sign in there, or renew the file that id_token_file names"
	case "invalid_client", "unauthorized_client":
		return "your enterprise does not take this client: look whether its ID and secret there are right, and set them again with vk client, or in the policy file"
	}
	return "your enterprise decided this, and nothing here can change it: ask its administrator"
}
