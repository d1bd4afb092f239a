package localapi

import "golang.org/x/sys/windows"

func systemAddress(getenv func(string) string) (string, error) {
	sid, err := userSID()
	if err != nil {
		return "", err
	}
	return windowsAddress(getenv, sid)
}

// userSID is the security identifier of the user this process runs as, in its text form.
func userSID() (string, error) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return "", &Error{Kind: ErrInternal, Message: "Windows does not say which user this program runs as", Err: err}
	}
	return user.User.Sid.String(), nil
}
