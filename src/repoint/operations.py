"""All 122 operations, and what answers each. None: not built yet, and said so."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from repoint.resources import apps, inapp, recommenders, tags
from repoint.resources.call import Call
from repoint.resources.campaigns import api as campaigns
from repoint.resources.channels import api as channels
from repoint.resources.endpoints import api as endpoints
from repoint.resources.events import api as events
from repoint.resources.events import stream
from repoint.resources.jobs import api as jobs
from repoint.resources.kpis import api as kpis
from repoint.resources.messages import api as messages
from repoint.resources.segments import api as segments
from repoint.resources.templates import api as templates
from repoint.wire.exceptions import MethodNotAllowedException

Handler = Callable[[Call, Any], Awaitable[Any]]

OPERATIONS: Final[dict[str, Handler | None]] = {
    "CreateApp": apps.create_app,
    "CreateCampaign": campaigns.create_campaign,
    "CreateEmailTemplate": templates.create_email_template,
    "CreateExportJob": jobs.create_export_job,
    "CreateImportJob": jobs.create_import_job,
    "CreateInAppTemplate": templates.create_in_app_template,
    "CreateJourney": None,
    "CreatePushTemplate": templates.create_push_template,
    "CreateRecommenderConfiguration": recommenders.create_recommender_configuration,
    "CreateSegment": segments.create_segment,
    "CreateSmsTemplate": templates.create_sms_template,
    "CreateVoiceTemplate": templates.create_voice_template,
    "DeleteAdmChannel": channels.delete_adm_channel,
    "DeleteApnsChannel": channels.delete_apns_channel,
    "DeleteApnsSandboxChannel": channels.delete_apns_sandbox_channel,
    "DeleteApnsVoipChannel": channels.delete_apns_voip_channel,
    "DeleteApnsVoipSandboxChannel": channels.delete_apns_voip_sandbox_channel,
    "DeleteApp": apps.delete_app,
    "DeleteBaiduChannel": channels.delete_baidu_channel,
    "DeleteCampaign": campaigns.delete_campaign,
    "DeleteEmailChannel": channels.delete_email_channel,
    "DeleteEmailTemplate": templates.delete_email_template,
    "DeleteEndpoint": endpoints.delete_endpoint,
    "DeleteEventStream": stream.delete_event_stream,
    "DeleteGcmChannel": channels.delete_gcm_channel,
    "DeleteInAppTemplate": templates.delete_in_app_template,
    "DeleteJourney": None,
    "DeletePushTemplate": templates.delete_push_template,
    "DeleteRecommenderConfiguration": recommenders.delete_recommender_configuration,
    "DeleteSegment": segments.delete_segment,
    "DeleteSmsChannel": channels.delete_sms_channel,
    "DeleteSmsTemplate": templates.delete_sms_template,
    "DeleteUserEndpoints": endpoints.delete_user_endpoints,
    "DeleteVoiceChannel": channels.delete_voice_channel,
    "DeleteVoiceTemplate": templates.delete_voice_template,
    "GetAdmChannel": channels.get_adm_channel,
    "GetApnsChannel": channels.get_apns_channel,
    "GetApnsSandboxChannel": channels.get_apns_sandbox_channel,
    "GetApnsVoipChannel": channels.get_apns_voip_channel,
    "GetApnsVoipSandboxChannel": channels.get_apns_voip_sandbox_channel,
    "GetApp": apps.get_app,
    "GetApplicationDateRangeKpi": kpis.get_application_date_range_kpi,
    "GetApplicationSettings": apps.get_application_settings,
    "GetApps": apps.get_apps,
    "GetBaiduChannel": channels.get_baidu_channel,
    "GetCampaign": campaigns.get_campaign,
    "GetCampaignActivities": campaigns.get_campaign_activities,
    "GetCampaignDateRangeKpi": kpis.get_campaign_date_range_kpi,
    "GetCampaignVersion": campaigns.get_campaign_version,
    "GetCampaignVersions": campaigns.get_campaign_versions,
    "GetCampaigns": campaigns.get_campaigns,
    "GetChannels": channels.get_channels,
    "GetEmailChannel": channels.get_email_channel,
    "GetEmailTemplate": templates.get_email_template,
    "GetEndpoint": endpoints.get_endpoint,
    "GetEventStream": stream.get_event_stream,
    "GetExportJob": jobs.get_export_job,
    "GetExportJobs": jobs.get_export_jobs,
    "GetGcmChannel": channels.get_gcm_channel,
    "GetImportJob": jobs.get_import_job,
    "GetImportJobs": jobs.get_import_jobs,
    "GetInAppMessages": inapp.get_in_app_messages,
    "GetInAppTemplate": templates.get_in_app_template,
    "GetJourney": None,
    "GetJourneyDateRangeKpi": kpis.get_journey_date_range_kpi,
    "GetJourneyExecutionActivityMetrics": None,
    "GetJourneyExecutionMetrics": None,
    "GetJourneyRunExecutionActivityMetrics": None,
    "GetJourneyRunExecutionMetrics": None,
    "GetJourneyRuns": None,
    "GetPushTemplate": templates.get_push_template,
    "GetRecommenderConfiguration": recommenders.get_recommender_configuration,
    "GetRecommenderConfigurations": recommenders.get_recommender_configurations,
    "GetSegment": segments.get_segment,
    "GetSegmentExportJobs": jobs.get_segment_export_jobs,
    "GetSegmentImportJobs": jobs.get_segment_import_jobs,
    "GetSegmentVersion": segments.get_segment_version,
    "GetSegmentVersions": segments.get_segment_versions,
    "GetSegments": segments.get_segments,
    "GetSmsChannel": channels.get_sms_channel,
    "GetSmsTemplate": templates.get_sms_template,
    "GetUserEndpoints": endpoints.get_user_endpoints,
    "GetVoiceChannel": channels.get_voice_channel,
    "GetVoiceTemplate": templates.get_voice_template,
    "ListJourneys": None,
    "ListTagsForResource": tags.list_tags_for_resource,
    "ListTemplateVersions": templates.list_template_versions,
    "ListTemplates": templates.list_templates,
    "PhoneNumberValidate": None,
    "PutEventStream": stream.put_event_stream,
    "PutEvents": events.put_events,
    "RemoveAttributes": endpoints.remove_attributes,
    "SendMessages": messages.send_messages,
    "SendOTPMessage": None,
    "SendUsersMessages": messages.send_users_messages,
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
    "UpdateAdmChannel": channels.update_adm_channel,
    "UpdateApnsChannel": channels.update_apns_channel,
    "UpdateApnsSandboxChannel": channels.update_apns_sandbox_channel,
    "UpdateApnsVoipChannel": channels.update_apns_voip_channel,
    "UpdateApnsVoipSandboxChannel": channels.update_apns_voip_sandbox_channel,
    "UpdateApplicationSettings": apps.update_application_settings,
    "UpdateBaiduChannel": channels.update_baidu_channel,
    "UpdateCampaign": campaigns.update_campaign,
    "UpdateEmailChannel": channels.update_email_channel,
    "UpdateEmailTemplate": templates.update_email_template,
    "UpdateEndpoint": endpoints.update_endpoint,
    "UpdateEndpointsBatch": endpoints.update_endpoints_batch,
    "UpdateGcmChannel": channels.update_gcm_channel,
    "UpdateInAppTemplate": templates.update_in_app_template,
    "UpdateJourney": None,
    "UpdateJourneyState": None,
    "UpdatePushTemplate": templates.update_push_template,
    "UpdateRecommenderConfiguration": recommenders.update_recommender_configuration,
    "UpdateSegment": segments.update_segment,
    "UpdateSmsChannel": channels.update_sms_channel,
    "UpdateSmsTemplate": templates.update_sms_template,
    "UpdateTemplateActiveVersion": templates.update_template_active_version,
    "UpdateVoiceChannel": channels.update_voice_channel,
    "UpdateVoiceTemplate": templates.update_voice_template,
    "VerifyOTPMessage": None,
}


async def call(name: str, context: Call, request: dict[str, Any]) -> Any:
    """Answer one checked request.

    Raises:
        MethodNotAllowedException: for an operation that is not built yet.
    """
    handler = OPERATIONS[name]
    if handler is None:
        raise MethodNotAllowedException(f"{name} is not built yet in this version of Repoint")
    return await handler(context, request)
