package runpod

import (
	"context"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyauth "github.com/aws/smithy-go/auth"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// gateway tells the SDK where the bucket is: always at the same address, the
// bucket in the path. The SDK's own rules come to the same after a quarter of
// the processor time that a small upload takes, since they match the region
// against the patterns of all of AWS, twice a request.
type gateway struct {
	url    *url.URL
	region string
}

func (g *gateway) ResolveEndpoint(_ context.Context, params s3.EndpointParameters) (smithyendpoints.Endpoint, error) {
	at := *g.url
	if params.Bucket != nil {
		at = *at.JoinPath(*params.Bucket)
	}
	e := smithyendpoints.Endpoint{URI: at}
	var signer smithy.Properties
	smithyhttp.SetDisableDoubleEncoding(&signer, true)
	smithyhttp.SetSigV4SigningName(&signer, "s3")
	smithyhttp.SetSigV4SigningRegion(&signer, g.region)
	smithyauth.SetAuthOptions(&e.Properties, []*smithyauth.Option{{SchemeID: smithyauth.SchemeIDSigV4, SignerProperties: signer}})
	return e, nil
}
