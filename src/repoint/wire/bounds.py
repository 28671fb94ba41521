"""Limits that AWS documents in prose but not in its service model.

Sources: the developer guide's quotas page and the shapes' documentation strings. Keys are (structure, member) of the
model; the validator compiles them in, so a handler never sees a value outside them.
"""

from typing import Final, NamedTuple


class Bound(NamedTuple):
    """What one member allows: characters for a string, items for a list or map, the value of a number."""

    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


PRIORITIES = ("5", "10", "normal", "high")
BOUNDS: Final[dict[tuple[str, str], Bound]] = {
    ("ADMChannelRequest", "ClientId"): Bound(1, 1024),
    ("ADMChannelRequest", "ClientSecret"): Bound(1, 1024),
    ("APNSMessage", "APNSPushType"): Bound(
        choices=("alert", "background", "complication", "fileprovider", "mdm", "voip")
    ),
    ("APNSMessage", "CollapseId"): Bound(maximum=64),
    ("APNSMessage", "Priority"): Bound(choices=PRIORITIES),
    ("APNSMessage", "TimeToLive"): Bound(minimum=0),
    ("AddressConfiguration", "BodyOverride"): Bound(maximum=600_000),
    ("AddressConfiguration", "RawContent"): Bound(maximum=600_000),
    ("AddressConfiguration", "TitleOverride"): Bound(maximum=1_000),
    ("ApplicationSettingsJourneyLimits", "DailyCap"): Bound(0, 100),
    ("ApplicationSettingsJourneyLimits", "TotalCap"): Bound(0, 100),
    ("BaiduChannelRequest", "ApiKey"): Bound(1, 1024),
    ("BaiduChannelRequest", "SecretKey"): Bound(1, 1024),
    ("CampaignCustomMessage", "Data"): Bound(maximum=5_120),
    ("CampaignEmailMessage", "Headers"): Bound(maximum=15),
    ("BaiduMessage", "TimeToLive"): Bound(0, 604_800),
    ("CampaignLimits", "Daily"): Bound(0, 100),
    ("CampaignLimits", "MaximumDuration"): Bound(minimum=60),
    ("CampaignLimits", "MessagesPerSecond"): Bound(1, 20_000),
    ("CampaignLimits", "Session"): Bound(minimum=0),
    ("CampaignLimits", "Total"): Bound(0, 100),
    ("CreateApplicationRequest", "Name"): Bound(1, 64),
    ("CreateRecommenderConfiguration", "RecommendationsPerMessage"): Bound(1, 5),
    ("EmailChannelRequest", "FromAddress"): Bound(1, 320),
    ("EmailChannelRequest", "Identity"): Bound(1, 2048),
    ("EmailMessage", "ReplyToAddresses"): Bound(maximum=50),
    ("EmailTemplateRequest", "HtmlPart"): Bound(maximum=600_000),
    ("EmailTemplateRequest", "TextPart"): Bound(maximum=600_000),
    ("EmailTemplateRequest", "TemplateDescription"): Bound(maximum=500),
    ("EmailTemplateRequest", "Headers"): Bound(maximum=15),
    ("EndpointBatchItem", "EndpointStatus"): Bound(choices=("ACTIVE", "INACTIVE")),
    ("EndpointBatchItem", "Id"): Bound(1, 1024),
    ("EndpointBatchItem", "OptOut"): Bound(choices=("ALL", "NONE")),
    ("EndpointBatchRequest", "Item"): Bound(maximum=100),
    ("EndpointDemographic", "AppVersion"): Bound(maximum=50),
    ("EndpointDemographic", "Make"): Bound(maximum=50),
    ("EndpointDemographic", "Model"): Bound(maximum=100),
    ("EndpointDemographic", "ModelVersion"): Bound(maximum=50),
    ("EndpointDemographic", "Platform"): Bound(maximum=50),
    ("EndpointDemographic", "PlatformVersion"): Bound(maximum=50),
    ("EndpointLocation", "City"): Bound(maximum=75),
    ("EndpointLocation", "Latitude"): Bound(-90, 90),
    ("EndpointLocation", "Longitude"): Bound(-180, 180),
    ("EndpointLocation", "Region"): Bound(maximum=75),
    ("EndpointRequest", "EndpointStatus"): Bound(choices=("ACTIVE", "INACTIVE")),
    ("EndpointRequest", "OptOut"): Bound(choices=("ALL", "NONE")),
    ("CampaignInAppMessage", "Content"): Bound(maximum=5),
    ("EndpointSendConfiguration", "BodyOverride"): Bound(maximum=600_000),
    ("EndpointSendConfiguration", "RawContent"): Bound(maximum=600_000),
    ("EndpointSendConfiguration", "TitleOverride"): Bound(maximum=1_000),
    ("GCMMessage", "Priority"): Bound(choices=PRIORITIES),
    ("GCMMessage", "TimeToLive"): Bound(0, 2_419_200),
    ("InAppTemplateRequest", "Content"): Bound(maximum=5),
    ("InAppTemplateRequest", "TemplateDescription"): Bound(maximum=500),
    ("JourneyTimeframeCap", "Cap"): Bound(0, 100),
    ("JourneyTimeframeCap", "Days"): Bound(0, 30),
    ("MessageHeader", "Name"): Bound(1, 126),
    ("MessageHeader", "Value"): Bound(0, 870),
    ("MessageRequest", "Addresses"): Bound(maximum=100),
    ("MessageRequest", "Endpoints"): Bound(maximum=100),
    ("MessageRequest", "TraceId"): Bound(maximum=1_000),
    ("PublicEndpoint", "EndpointStatus"): Bound(choices=("ACTIVE", "INACTIVE")),
    ("PublicEndpoint", "OptOut"): Bound(choices=("ALL", "NONE")),
    ("PushNotificationTemplateRequest", "TemplateDescription"): Bound(maximum=500),
    ("SMSTemplateRequest", "Body"): Bound(maximum=1_600),
    ("SMSTemplateRequest", "TemplateDescription"): Bound(maximum=500),
    ("SendOTPMessageRequestParameters", "AllowedAttempts"): Bound(1, 5),
    ("SendOTPMessageRequestParameters", "BrandName"): Bound(1, 20),
    ("SendOTPMessageRequestParameters", "CodeLength"): Bound(5, 8),
    ("SendOTPMessageRequestParameters", "ReferenceId"): Bound(1, 48),
    ("SendOTPMessageRequestParameters", "ValidityPeriod"): Bound(5, 60),
    ("SendUsersMessageRequest", "TraceId"): Bound(maximum=1_000),
    ("SendUsersMessageRequest", "Users"): Bound(maximum=100),
    ("SimpleEmail", "Headers"): Bound(maximum=15),
    ("TagsModel", "tags"): Bound(maximum=50),
    ("UpdateAttributesRequest", "Blacklist"): Bound(1, 250),
    ("UpdateRecommenderConfiguration", "RecommendationsPerMessage"): Bound(1, 5),
    ("VoiceTemplateRequest", "Body"): Bound(maximum=10_000),
    ("VoiceTemplateRequest", "TemplateDescription"): Bound(maximum=500),
    ("WriteCampaignRequest", "AdditionalTreatments"): Bound(maximum=4),
    ("WriteCampaignRequest", "HoldoutPercent"): Bound(0, 100),
    ("WriteCampaignRequest", "Priority"): Bound(1, 5),
    ("WriteTreatmentResource", "SizePercent"): Bound(0, 100),
}

NESTING_MAX: Final = 64
MEMBERS_MAX: Final = 200_000
# Operations whose body may be less than the 7 MB that the gateway takes.
BODY_BYTES_MAX: Final[dict[str, int]] = {"PutEvents": 4 * 1024 * 1024}
